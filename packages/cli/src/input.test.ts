import { mkdtemp, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { expect, test } from "vitest"
import { readInput, readInputText, toJsonText } from "./input.ts"

const cwd = tmpdir()
const read = (words: string[], base: string | null = null): Promise<string> =>
  readInput({ words, base, cwd })

test.each([
  ["42", "42"],
  ["-1.5e3", "-1.5e3"],
  ["12345678901234567890", "12345678901234567890"],
  ["007", '"007"'],
  ["1.", '"1."'],
  ["true", "true"],
  ["null", "null"],
  ["True", '"True"'],
  ['{"width":512}', '{"width":512}'],
  ["[1,2]", "[1,2]"],
  ["", '""'],
  ["a cat = an animal", '"a cat = an animal"'],
  ['say "hi"\n', '"say \\"hi\\"\\n"'],
])("the value %s becomes %s", (text, json) => {
  expect(toJsonText("key", text)).toBe(json)
})

test("words make one object; of equal keys the last wins", async () => {
  expect(await read(["prompt=a cat", "seed=1", "seed=2", 'extra:="7"'])).toBe(
    '{"prompt":"a cat","seed":2,"extra":"7"}',
  )
  expect(await read([])).toBe("{}")
  expect(await read(["__proto__=1"])).toBe('{"__proto__":1}')
})

test("--input goes out byte for byte when nothing is added", async () => {
  const text = '{ "seed": 12345678901234567890 }\n'
  expect(await read([], text)).toBe(text)
})

test("words add to --input, and its large numbers keep their digits", async () => {
  const base = '{"seed":12345678901234567890,"prompt":"a dog","__proto__":{"deep":1.10}}'
  expect(await read(["prompt=a cat"], base)).toBe(
    '{"seed":12345678901234567890,"prompt":"a cat","__proto__":{"deep":1.10}}',
  )
})

test("@file becomes a data URI of its type", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tintype-input-"))
  await writeFile(join(folder, "photo.PNG"), "bytes")
  expect(await readInput({ words: ["image_url=@photo.PNG"], base: null, cwd: folder })).toBe(
    `{"image_url":"data:image/png;base64,${btoa("bytes")}"}`,
  )
})

test.each([
  [["prompt"], null, 'Expected key=value, got "prompt"'],
  [["=x"], null, 'Expected key=value, got "=x"'],
  [["size={oops"], null, "The value of size is not JSON"],
  [["size:=oops"], null, "The value of size is not JSON"],
  [["image_url=@not-there.png"], null, "not-there.png cannot be read"],
  [[], "{oops", "--input is not JSON"],
  [["a=1"], "[1]", "--input must be a JSON object"],
])("%j with --input %j is refused in one line", async (words, base, message) => {
  const error: unknown = await read(words, base).catch((reason: unknown) => reason)
  expect(String(error)).toContain(message)
  expect(String(error)).not.toContain("\n")
})

test("- is the standard input", async () => {
  const input = Readable.from([Buffer.from('{"a":'), Buffer.from("1}")])
  expect(await readInputText("-", input, cwd)).toBe('{"a":1}')
})
