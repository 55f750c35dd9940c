import { readFile, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Worker } from "node:worker_threads"

/** PEM texts, each with a line break at its end. */
export interface MadeCertificates {
  leaf: string
  key: string
  /** Whoever trusts it trusts this leaf and nothing else: its key is gone. */
  ca: string
}

/** What is kept of them in the data folder. */
export interface Certificates extends MadeCertificates {
  /** DNS names and addresses that the leaf is for. */
  names: string[]
  /** Epoch milliseconds. */
  madeAt: number
}

export interface CertificateOrder {
  names: string[]
  /** Epoch milliseconds. */
  now: number
  validMs: number
}

const dayMs = 86_400_000
/** Chromium and Apple refuse leaves that are valid for more than 398 days. */
const validMs = 397 * dayMs
const renewAfterMs = 90 * dayMs

/**
 * The certificates of the data folder; made at the first start, and anew after 90 days or for other names. They lie in one
 * file, readable by its owner alone, so that no crash can leave a key without its certificate; `ca.pem` beside it is for
 * people and programs.
 */
export async function openCertificates(
  folder: string,
  names: string[],
  now: number,
): Promise<Certificates> {
  const path = join(folder, "certificates.json")
  const known = parseCertificates(await readFile(path, "utf8").catch(unlessAbsent))
  if (known !== null && isCurrent(known, names, now)) return known
  const made = { ...(await makeCertificates({ names, now, validMs })), names, madeAt: now }
  await replaceFile(path, `${JSON.stringify(made)}\n`)
  await replaceFile(join(folder, "ca.pem"), made.ca)
  return made
}

/** A disk that fails for a moment must not cost programs the authority that they were told to trust. */
function unlessAbsent(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return ""
  throw error
}

/** May they be used on, or is it time for others? A clock that was set back makes them look older than they can be. */
export function isCurrent(known: Certificates, names: string[], now: number): boolean {
  const ageMs = now - known.madeAt
  const sameNames = known.names.join() === names.join()
  return sameNames && ageMs > -dayMs && ageMs < renewAfterMs
}

/** Nothing of it is precious: what cannot be read is made again. */
function parseCertificates(text: string): Certificates | null {
  try {
    const found = JSON.parse(text) as Certificates
    const texts = [found.leaf, found.key, found.ca]
    const isWhole =
      texts.every((one) => typeof one === "string" && one.startsWith("-----BEGIN ")) &&
      Array.isArray(found.names) &&
      typeof found.madeAt === "number"
    return isWhole ? found : null
  } catch {
    return null
  }
}

function makeCertificates(order: CertificateOrder): Promise<MadeCertificates> {
  const isSource = import.meta.url.endsWith(".ts")
  const entry = new URL(
    isSource ? "./certificate-maker.ts" : "./certificate-maker.js",
    import.meta.url,
  )
  const { promise, resolve, reject } = Promise.withResolvers<MadeCertificates>()
  const worker = new Worker(entry, {
    workerData: order,
    ...(isSource ? { execArgv: ["--conditions=tintype-source"] } : {}),
  })
  worker.once("message", resolve)
  worker.once("error", reject)
  worker.once("exit", () => reject(new Error("The thread that makes certificates ended early")))
  return promise
}

/** Whole or not at all: a server that starts later reads it. */
async function replaceFile(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text, { mode: 0o600 })
  await rename(`${path}.new`, path)
}
