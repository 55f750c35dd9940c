/** Names and types of files that others chose, as pure functions. */

/** With the rest of a file's name and URL far below what file systems and headers take. */
const stemLengthMax = 84

/**
 * What a URL, a header and a file system all take as it is: letters, digits, `.`, `_`, `-`, no folder, no dot in front. Without
 * a usable name it is `file`; without an extension it gets one of the type, as programs judge files by it.
 *
 *     safeFileName("../../etc/pass wd", "text/plain") // "pass_wd.txt"
 */
export function safeFileName(given: string, contentType: string): string {
  const plain = given
    .replace(/.*[/\\]/s, "")
    .replaceAll(/[^\w.-]+/g, "_")
    .replace(/^[._-]+/, "")
  const extension = /\.\w{1,15}$/.exec(plain)?.[0]
  const stem = extension === undefined ? plain : plain.slice(0, -extension.length)
  return (stem || "file").slice(0, stemLengthMax) + (extension ?? extensionOf(contentType))
}

/** Where the type's own word is not what its files end in. */
const extensions: Record<string, string> = { jpeg: "jpg", octet: "bin", plain: "txt" }

function extensionOf(contentType: string): string {
  const word = /\/(?:x-)?(\w{1,15})\b/.exec(contentType)?.[1] ?? "bin"
  return `.${extensions[word] ?? word}`
}

/** A type that no header can carry would break every later answer with the file. */
export function storedType(given: string | undefined): string {
  const type = given?.trim()
  return type !== undefined &&
    type.length <= 256 &&
    /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(;[\t\x20-\x7e]*)?$/.test(type)
    ? type
    : "application/octet-stream"
}
