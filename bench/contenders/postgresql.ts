import { spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdirSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { findFreePort, type OwnProcess, type Processes } from "../processes.ts"

/** Where Debian keeps the programs of each version; they are not on the path there. */
const debianFolder = "/usr/lib/postgresql"

/** The folder with `initdb`, "" when it is on the path; null: there is none. */
function findPrograms(): string | null {
  const versions = existsSync(debianFolder) ? readdirSync(debianFolder) : []
  const newestFirst = versions.toSorted((a, b) => Number(b) - Number(a))
  const folders = ["", ...newestFirst.map((version) => join(debianFolder, version, "bin"))]
  return folders.find((folder) => answers(join(folder, "initdb"))) ?? null
}

function answers(command: string): boolean {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0
}

export function postgresqlVersion(): string | null {
  const programs = findPrograms()
  if (programs === null) return null
  const { stdout } = spawnSync(join(programs, "postgres"), ["--version"], { encoding: "utf8" })
  return /(\d[\d.]*)/.exec(stdout)?.[1] ?? null
}

export function missingPostgresql(): string | null {
  return findPrograms() === null ? "PostgreSQL (apt-get install postgresql)" : null
}

/** PostgreSQL refuses to run as root. */
function findUser(): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) return null
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((flag) =>
      spawnSync("id", [flag, name], { encoding: "utf8" }).stdout.trim(),
    )
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error("there is no user postgres or nobody to run PostgreSQL as")
}

/** A cluster of our own with the defaults of `initdb`: `fsync` and `synchronous_commit` are on. */
export async function startPostgresql(
  processes: Processes,
  folder: string,
): Promise<{ url: string; server: OwnProcess }> {
  const programs = findPrograms()
  if (programs === null) throw new Error("there is no PostgreSQL")
  const user = findUser()
  const data = join(folder, "cluster")
  if (!existsSync(data)) makeCluster(join(programs, "initdb"), data, user)
  const port = await findFreePort()
  const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories="]
  const server = processes.start(join(programs, "postgres"), {
    args: ["-D", data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])],
    cwd: data,
    user,
  })
  await server.untilLine(/database system is ready to accept connections/)
  return { url: `postgres://bench@127.0.0.1:${port}/postgres`, server }
}

function makeCluster(
  initdb: string,
  data: string,
  user: { uid: number; gid: number } | null,
): void {
  mkdirSync(data, { mode: 0o700 })
  if (user !== null) chownSync(data, user.uid, user.gid)
  const args = ["-D", data, "-U", "bench", "--auth=trust", "--no-locale", "--encoding=UTF8"]
  const made = spawnSync(initdb, args, { cwd: data, encoding: "utf8", ...user })
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`)
}
