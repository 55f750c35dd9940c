import type { Answer } from "../answer.ts"
import type { Call, Gateway } from "../parts.ts"
import { parseFilePath } from "./paths.ts"
import { answerFile } from "./reading.ts"
import { answerSignature } from "./signatures.ts"
import { answerIntake, answerUpload } from "./uploads.ts"

/** Everything below `/files/`: reading, and the bytes of uploads. What is said about files without their bytes is `storage.ts`. */
export async function answerFiles(gateway: Gateway, call: Call): Promise<Answer> {
  const path = parseFilePath(call.address.path)
  switch (path.kind) {
    case "intake":
      return await answerIntake(gateway, call, path)
    case "upload":
      return await answerUpload(gateway, call, path.upload)
    case "signature":
      return await answerSignature(gateway, call, path.name)
    default:
      return await answerFile(gateway, call, path.name)
  }
}
