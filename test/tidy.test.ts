import { readdirSync, readFileSync } from "node:fs"
import { basename, dirname, join, relative, resolve } from "node:path"
import { describe, expect, test } from "vitest"

/** Holds what STYLE.md says of layout, direction and size. Functions are held to 70 lines by the linter. */

const root = resolve(import.meta.dirname, "..")

const linesMax = 400
const testLinesMax = 1_000
const filesInFolderMax = 12
const foldersUnderSourceMax = 3
const skipped = new Set([
  "node_modules",
  "dist",
  "coverage",
  "fixtures",
  ".git",
  ".tintype",
  ".stryker-tmp",
])
const vagueFileNames = new Set(
  "util utils helper helpers common misc lib shared type types interface interfaces".split(" "),
)
const vagueFolderNames = new Set([...vagueFileNames, "models", "managers", "services"])

/** Which packages each may import; who is not named here has no rule yet and fails. */
const packageImports: Record<string, string[]> = {
  protocol: [],
  client: ["protocol"],
  app: ["protocol"],
  diffusion: [],
  catalogue: ["app", "diffusion"],
  runner: ["app", "protocol"],
  server: ["app", "protocol", "runner", "catalogue"],
  cli: ["protocol", "runner", "server"],
}

/** Ports, which domain functions may name in `import type`, and the folders of their adapters. */
const adapterFolders = ["stores", "blobs"]

interface Import {
  /** As written: `./store.ts`, `@tintype/protocol`, `node:fs`. */
  target: string
  typeOnly: boolean
}

interface Source {
  /** From the root: `packages/server/src/main.ts`. */
  path: string
  text: string
  imports: Import[]
}

const files = listFiles(root)
const sources = files
  .filter((path) => /^(packages\/[^/]+\/(src|bin)|test|scripts|bench)\//.test(path))
  .filter((path) => /\.(ts|js|mjs)$/.test(path))
  .map(readSource)
const productSources = sources.filter(
  ({ path }) => /^packages\/[^/]+\/src\//.test(path) && !isTest(path),
)

function listFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (skipped.has(entry.name)) return []
    return entry.isDirectory() ? listFiles(path) : [relative(root, path)]
  })
}

function readSource(path: string): Source {
  const text = readFileSync(join(root, path), "utf8")
  return { path, text, imports: readImports(text) }
}

function readImports(text: string): Import[] {
  const statements = text.matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^"'`;]*?\sfrom\s+)?["']([^"'\n]+)["']/gm,
  )
  const dynamic = text.matchAll(/\bimport\(\s*["']([^"'\n]+)["']/g)
  return [
    ...[...statements].map(([, type, target]) => ({
      target: target ?? "",
      typeOnly: type !== undefined,
    })),
    ...[...dynamic].map(([, target]) => ({ target: target ?? "", typeOnly: false })),
  ]
}

function isTest(path: string): boolean {
  return /\.(test|suite)\.ts$/.test(path) || path.startsWith("test/") || path.includes("/testing/")
}

function packageOf(path: string): string {
  return path.split("/")[1] ?? ""
}

/** `packages/server/src/…` that a relative import means; null for one of another package. */
function targetPath(source: Source, target: string): string | null {
  return target.startsWith(".") ? join(dirname(source.path), target) : null
}

/** The first folder under `src/`, or "" for a file that lies directly in it. */
function areaOf(path: string): string {
  const rest = path.split("/src/")[1] ?? ""
  return rest.includes("/") ? (rest.split("/")[0] ?? "") : ""
}

function isAdapter(path: string): boolean {
  return adapterFolders.includes(areaOf(path))
}

function isService(path: string): boolean {
  return areaOf(path) !== "" && areaOf(path) !== "domain" && !isAdapter(path)
}

/** Why the import goes against the direction, or null. */
function serverObjection(source: Source, { target, typeOnly }: Import): string | null {
  const path = targetPath(source, target)
  const from = areaOf(source.path)
  // What main is told in beside it: nothing of it is imported by services.
  const isRoot = /\/src\/(main|index)\.ts$/.test(source.path) || from === "start"
  if (from === "domain") {
    if (path === null) {
      const allowed = ["@tintype/protocol", "node:assert/strict"].includes(target)
      return allowed ? null : "domain imports protocol only"
    }
    if (areaOf(path) === "domain") return null
    return typeOnly && areaOf(path) === "" ? null : "domain may import ports as types only"
  }
  if (path === null || isRoot) return null
  if (areaOf(path) === from) {
    // What lies beside the adapters (their suite, a check that all of them make) is theirs in common.
    const other = isAdapter(path) && depthOf(path) > 1 && adapterOf(path) !== adapterOf(source.path)
    return other ? "adapters do not know each other" : null
  }
  if (isAdapter(path)) return "only main.ts and tests import adapters"
  if (isService(path)) {
    return isService(source.path)
      ? "services meet in the store and never import one another"
      : "only main.ts imports services"
  }
  if (/\/src\/(main|index)\.ts$/.test(path)) return "nothing inside imports main.ts"
  return null
}

function depthOf(path: string): number {
  return (path.split("/src/")[1] ?? "").split("/").length - 1
}

/** `stores/sqlite` */
function adapterOf(path: string): string {
  return (path.split("/src/")[1] ?? "").split("/").slice(0, 2).join("/")
}

/** Main may be told in several files beside it, which only main imports; they count as main. */
const partsOfMain = new Set(
  productSources
    .filter(({ path }) => path === "packages/server/src/main.ts")
    .flatMap((source) => source.imports.map(({ target }) => targetPath(source, target)))
    .filter((path): path is string => path !== null && areaOf(path) === ""),
)

describe("direction", () => {
  test("packages import only those before them", () => {
    const wrong = productSources.flatMap(({ path, imports }) =>
      imports
        .map(({ target }) => /^@tintype\/([^/]+)/.exec(target)?.[1])
        .filter((name) => name !== undefined)
        .filter((name) => !(packageImports[packageOf(path)] ?? []).includes(name))
        .map((name) => `${path} imports @tintype/${name}`),
    )
    expect(wrong).toEqual([])
  })

  test("no relative import leaves its package", () => {
    const wrong = sources
      .filter(({ path }) => path.startsWith("packages/"))
      .flatMap((source) =>
        source.imports
          .map(({ target }) => targetPath(source, target))
          .filter((path) => path !== null && packageOf(path) !== packageOf(source.path))
          .map((path) => `${source.path} imports ${path}`),
      )
    expect(wrong).toEqual([])
  })

  test("every package that is imported is a dependency of the importer", () => {
    const wrong = productSources.flatMap(({ path, imports }) => {
      const manifest = readFileSync(join(root, "packages", packageOf(path), "package.json"), "utf8")
      return imports
        .map(({ target }) => target)
        .filter((target) => !target.startsWith(".") && !target.startsWith("node:"))
        .map((target) =>
          target
            .split("/")
            .slice(0, target.startsWith("@") ? 2 : 1)
            .join("/"),
        )
        .filter((name) => !manifest.includes(`"${name}":`))
        .map((name) => `${path} imports ${name}`)
    })
    expect(wrong).toEqual([])
  })

  test("inside the server: protocol, domain, ports, services, main", () => {
    const wrong = productSources
      .filter(({ path }) => path.startsWith("packages/server/src/"))
      .flatMap((source) =>
        source.imports.flatMap((one) => {
          const objection = serverObjection(source, one)
          // A part of main may do what main may; a service that imports it would show up as its own line.
          const excused =
            partsOfMain.has(source.path) && objection === "only main.ts imports services"
          return objection === null || excused
            ? []
            : [`${source.path} imports ${one.target}: ${objection}`]
        }),
      )
    expect(wrong).toEqual([])
  })

  test.each([
    ["domain/turn.ts", "../store.ts", false, "domain may import ports as types only"],
    ["domain/turn.ts", "../store.ts", true, null],
    ["domain/turn.ts", "node:fs", false, "domain imports protocol only"],
    [
      "gateway/doors/queue.ts",
      "../../dispatcher/dispatcher.ts",
      true,
      "services meet in the store",
    ],
    ["gateway/doors/queue.ts", "../../stores/sqlite/engine.ts", false, "only main.ts and tests"],
    ["gateway/doors/queue.ts", "../answer.ts", false, null],
    ["stores/sqlite/engine.ts", "../postgres/engine.ts", false, "adapters do not know each other"],
    ["stores/sqlite/engine.ts", "../../domain/turn.ts", false, null],
    ["store.ts", "./dispatcher/dispatcher.ts", false, "only main.ts imports services"],
    ["main.ts", "./stores/sqlite/sqlite-store.ts", false, null],
    ["dispatcher/dispatcher.ts", "../main.ts", false, "nothing inside imports main.ts"],
  ])("the rule itself: %s importing %s [types only: %s]", (from, target, typeOnly, objection) => {
    const source = { path: `packages/server/src/${from}`, text: "", imports: [] }
    const said = serverObjection(source, { target, typeOnly })
    expect(said === null ? null : said.slice(0, objection?.length)).toBe(objection)
  })
})

describe("size", () => {
  test(`source files have at most ${linesMax} lines, tests ${testLinesMax}`, () => {
    const wrong = sources
      .map(({ path, text }) => ({
        path,
        lines: text.split("\n").filter((line) => line.trim()).length,
      }))
      .filter(({ path, lines }) => lines > (isTest(path) ? testLinesMax : linesMax))
    expect(wrong).toEqual([])
  })

  test(`folders of sources have at most ${filesInFolderMax} files, tests aside`, () => {
    const counts = new Map<string, number>()
    for (const { path } of productSources) {
      counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1)
    }
    expect([...counts].filter(([, count]) => count > filesInFolderMax)).toEqual([])
  })

  test(`folders nest at most ${foldersUnderSourceMax} deep under src/`, () => {
    const wrong = productSources.filter(({ path }) => depthOf(path) > foldersUnderSourceMax)
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  test("the linter holds functions to 70 lines and exempts tests only", () => {
    const config = readFileSync(join(root, ".oxlintrc.json"), "utf8").replaceAll(/\s+/g, " ")
    expect(config).toMatch(/"max-lines-per-function": \[ ?"error", \{ "max": 70\b/)
    const exempted = [...config.matchAll(/"files": (\[[^\]]*\])/g)].map(([, list]) => list)
    for (const list of exempted) expect(list).toMatch(/^\["\*\*\/\*\.(test|suite)\.ts"/)
  })
})

describe("names", () => {
  test("no file or folder has a name that says nothing", () => {
    const wrong = sources.filter(({ path }) => {
      const folders = dirname(path).split("/")
      const stem = basename(path).split(".")[0] ?? ""
      return folders.some((name) => vagueFolderNames.has(name)) || vagueFileNames.has(stem)
    })
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  test("files and folders of sources are kebab-case", () => {
    const kebab = /^[a-z0-9]+(-[a-z0-9]+)*$/
    const wrong = sources.filter(
      ({ path }) => !path.split("/").every((part) => kebab.test(part.split(".")[0] ?? "")),
    )
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  test("index.ts is only the front door of a package or an adapter", () => {
    const indexes = sources.filter(({ path }) => basename(path) === "index.ts")
    const wrong = indexes.filter(
      ({ path }) => !/^packages\/[^/]+\/src\/((stores|blobs)\/[^/]+\/)?index\.ts$/.test(path),
    )
    expect(wrong.map(({ path }) => path)).toEqual([])
    for (const { path, text } of indexes) {
      expect(text, `${path} names what it exports`).not.toMatch(/^export \*/m)
    }
  })
})

test("nothing is left to do", () => {
  // The brackets keep this file from finding itself.
  const mark = new RegExp(String.raw`\b(T[O]DO|FIX[M]E)\b`)
  const wrong = sources.filter(({ text }) => mark.test(text))
  expect(wrong.map(({ path }) => path)).toEqual([])
})

test("lockfiles name no registry, so that each machine asks its own", () => {
  const lockfiles = files.filter((path) => basename(path) === "package-lock.json")
  const wrong = lockfiles.filter((path) =>
    /"resolved": "\w+:/.test(readFileSync(join(root, path), "utf8")),
  )
  expect(lockfiles).toContain("package-lock.json")
  expect(wrong).toEqual([])
})

test("decision records are numbered without a gap and open with their title", () => {
  const records = files.filter((path) => path.startsWith("docs/decisions/")).toSorted()
  expect(records.length).toBeGreaterThan(0)
  for (const [index, path] of records.entries()) {
    const number = String(index + 1).padStart(3, "0")
    expect(basename(path)).toMatch(new RegExp(`^${number}-[a-z0-9-]+\\.md$`))
    expect(readFileSync(join(root, path), "utf8")).toMatch(new RegExp(`^# ${number} `))
  }
})
