import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { userInfo } from "node:os"
import { join } from "node:path"
import { findFreePort, type OwnProcess, type Processes, untilAnswers } from "../processes.ts"

const command = "nginx"

export function nginxVersion(): string | null {
  const { status, stderr } = spawnSync(command, ["-v"], { encoding: "utf8" })
  return status === 0 ? (/nginx\/(\S+)/.exec(stderr)?.[1] ?? null) : null
}

/** What is missing here to run it, and how to get it; null: nothing. */
export function missingNginx(): string | null {
  return nginxVersion() === null ? "nginx (apt-get install nginx-light)" : null
}

/**
 * A server of our own: one worker for files, `sendfile` for downloads (https://nginx.org/en/docs/http/ngx_http_core_module.html#sendfile),
 * PUT by https://nginx.org/en/docs/http/ngx_http_dav_module.html. The body's temporary files lie on the disk of the files,
 * as that page advises.
 */
export async function startNginx(
  processes: Processes,
  folder: string,
): Promise<{ port: number; files: string; server: OwnProcess }> {
  const port = await findFreePort()
  const files = join(folder, "files")
  const temporary = join(folder, "temporary")
  for (const made of [files, temporary]) mkdirSync(made)
  const temporaryPaths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${join(temporary, name)};`,
  )
  const configuration = `
    daemon off;
    worker_processes 1;
    user ${userInfo().username};
    pid ${join(folder, "nginx.pid")};
    error_log stderr;
    events { worker_connections 256; }
    http {
      access_log ${join(folder, "access.log")};
      ${temporaryPaths.join("\n")}
      sendfile on;
      tcp_nopush on;
      client_max_body_size 1g;
      server {
        listen 127.0.0.1:${port};
        root ${files};
        location = /health { return 200; }
        location / { dav_methods PUT; }
      }
    }`
  const path = join(folder, "nginx.conf")
  writeFileSync(path, configuration)
  const server = processes.start(command, { args: ["-p", folder, "-c", path, "-e", "stderr"] })
  await untilAnswers(`http://127.0.0.1:${port}/health`, server)
  return { port, files, server }
}
