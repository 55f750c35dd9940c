import { readdir } from "node:fs/promises"
import { join } from "node:path"

/** Every file that a server's blobs consist of, those half written included. */
export async function blobPaths(data: string): Promise<string[]> {
  const entries = await readdir(join(data, "blobs"), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .toSorted()
}
