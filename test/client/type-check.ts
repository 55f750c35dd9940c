import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

const root = resolve(import.meta.dirname, "../..")
const compiler = join(root, "node_modules/.bin/tsc")

/** As strict as a program may be, declarations included, with what both Node and browsers have. */
const options = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noUnusedLocals: false,
  skipLibCheck: false,
  noEmit: true,
  module: "nodenext",
  target: "es2022",
  lib: ["es2024", "dom", "dom.iterable"],
  types: [],
  allowImportingTsExtensions: true,
  paths: {
    "@tintype/client": [join(root, "packages/client/dist/index.d.ts")],
    "@tintype/protocol": [join(root, "packages/protocol/dist/index.d.ts")],
  },
}

/** What the compiler says of these files, line by line; nothing, when all is well. */
export async function typeCheck(files: Record<string, string>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), "tintype-types-"))
  const config = { compilerOptions: options, include: ["*.ts"] }
  const all = {
    ...files,
    "tsconfig.json": JSON.stringify(config),
    "package.json": '{"type":"module"}',
  }
  for (const [name, text] of Object.entries(all)) await writeFile(join(folder, name), text)
  const said = await new Promise<string>((done) => {
    execFile(compiler, ["-p", folder], { cwd: folder, maxBuffer: 1e8 }, (_, out, error) =>
      done(out + error),
    )
  })
  await rm(folder, { recursive: true })
  return said.split("\n").filter((line) => line !== "")
}
