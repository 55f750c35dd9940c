import { readFileSync } from "node:fs"
import { createRequire } from "node:module"

/**
 * The client and what it needs as one module for a browser: every file as its package has it, wrapped in the function that Node
 * would wrap it in. A bundler would do the same and more; this shows that nothing is changed on the way.
 */
export function packedClient() {
  const files = new Map()
  const entry = createRequire(import.meta.url).resolve("@fal-ai/client")
  collect(entry, files)
  const wrapped = [...files].map(([path, { text, targets }]) => {
    const body = path.endsWith(".json") ? `module.exports = ${text}` : text
    return `${JSON.stringify(path)}: [${JSON.stringify(targets)}, (module, exports, require) => {${body}\n}]`
  })
  return `const files = {${wrapped.join(",\n")}}
const loaded = {}
function load(path) {
  if (loaded[path]) return loaded[path].exports
  const module = (loaded[path] = { exports: {} })
  const [targets, run] = files[path]
  run(module, module.exports, (name) => load(targets[name]))
  return module.exports
}
export default load(${JSON.stringify(entry)})
`
}

function collect(path, files) {
  if (files.has(path)) return
  const text = readFileSync(path, "utf8")
  const require = createRequire(path)
  const names = path.endsWith(".json") ? [] : text.matchAll(/\brequire\("([^"]+)"\)/g)
  const targets = Object.fromEntries([...names].map(([, name]) => [name, require.resolve(name)]))
  files.set(path, { text, targets })
  for (const target of Object.values(targets)) collect(target, files)
}
