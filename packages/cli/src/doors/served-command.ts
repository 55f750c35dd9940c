import { randomBytes } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { type Contact, startTemporary } from "../server-contact.ts"
import type { Terminal } from "../terminal.ts"
import { CommandError } from "../terminal.ts"

const readyWithinMs = 60_000
const askEveryMs = 50
/** Of the server's log, the last so many characters are kept. */
const logLengthMax = 1024 * 1024

/**
 * A server for the life of a command, on free ports and with its data in memory. It is part of this process and its runner ends
 * with its link, so that neither outlives the command, however that ends.
 */
export async function serveForCommand(
  terminal: Terminal,
  say: (line: string) => void,
  isInterrupted: () => boolean,
): Promise<Contact & { keepLog(): Promise<void> }> {
  const log = new LogTail()
  const keepLog = async (): Promise<void> => {
    const path = join(tmpdir(), `tintype-exec-${randomBytes(4).toString("hex")}.log`)
    await writeFile(path, log.text, { mode: 0o600 })
    say(`the log of the server is in ${path}`)
  }
  const contact = await startTemporary(terminal, { "tls-port": "0" }, log)
  if (await isReady(contact.target.url, isInterrupted)) return { ...contact, keepLog }
  await contact.close()
  await keepLog()
  throw new CommandError(`The server was not ready within ${readyWithinMs / 1_000} s`)
}

/** Has every app a runner? Also when nobody waits for it any more. */
async function isReady(url: string, isInterrupted: () => boolean): Promise<boolean> {
  const end = performance.now() + readyWithinMs
  while (performance.now() < end) {
    const response = await fetch(`${url}/health?ready`)
    await response.body?.cancel()
    if (response.ok || isInterrupted()) return true
    await delay(askEveryMs)
  }
  return false
}

class LogTail {
  #text = ""

  get text(): string {
    return this.#text.slice(-logLengthMax)
  }

  write(text: string): void {
    this.#text += text
    // Now and then, as each time would copy it all.
    if (this.#text.length > 2 * logLengthMax) this.#text = this.text
  }
}
