import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const mounting = `mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec sleep infinity`

/**
 * A file system of a few megabytes: a tmpfs in a namespace of its own, so that nobody needs to be root. It lives as long as
 * the process that holds it; whoever is to see it is started with `wrapper`.
 */
export class SmallDisk {
  readonly path: string
  readonly #holder: ChildProcess

  private constructor(path: string, holder: ChildProcess) {
    this.path = path
    this.#holder = holder
  }

  /** Null when it can be made; otherwise the reason for a skip, which is printed. */
  static objection(title: string): string | null {
    const trial = ["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    const { error, status, stderr } = spawnSync("unshare", trial, { encoding: "utf8" })
    const reason = error?.message ?? (status === 0 ? null : stderr.trim())
    if (reason !== null) console.log(`skipped: ${title} (${reason})`)
    return reason
  }

  static async open(path: string, megabytes: number): Promise<SmallDisk> {
    mkdirSync(path, { recursive: true })
    const args = ["-Urm", "sh", "-c", mounting, "sh", `${megabytes}m`, path]
    const holder = spawn("unshare", args, { stdio: ["ignore", "pipe", "inherit"] })
    await once(holder.stdout, "data")
    return new SmallDisk(path, holder)
  }

  /** In front of a command that is to see it; the command keeps its pid. */
  get wrapper(): string[] {
    return ["nsenter", "-t", String(this.#holder.pid), "-U", "-m", "--preserve-credentials"]
  }

  /** As it is seen from outside. */
  get #outside(): string {
    return `/proc/${this.#holder.pid}/root${this.path}`
  }

  /** Takes whatever is free, down to the last byte. */
  fill(): void {
    for (let bytes = 1024 * 1024; bytes >= 512; bytes /= 2) {
      try {
        for (;;) writeFileSync(join(this.#outside, "filler"), Buffer.alloc(bytes), { flag: "a" })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error
      }
    }
  }

  empty(): void {
    rmSync(join(this.#outside, "filler"), { force: true })
  }

  async close(): Promise<void> {
    this.#holder.kill("SIGKILL")
    await once(this.#holder, "exit")
  }
}
