import { createHash } from "node:crypto"
import { once } from "node:events"
import { connect } from "node:tls"

/**
 * Flags by which Chromium takes a server of ours for fal's hosts, and believes it: the rule that a developer writes into a
 * launcher, with the one certificate pinned instead of an authority trusted.
 */
export async function mappedHosts(serverUrl: string): Promise<string[]> {
  const said = (await (await fetch(`${serverUrl}/_/tls`)).json()) as { port: number }
  const hosts = ["fal.run", "*.fal.run", "*.fal.ai", "*.fal.media"]
  const rules = hosts.map((host) => `MAP ${host} 127.0.0.1:${said.port}`).join(", ")
  return [
    `--host-resolver-rules=${rules}`,
    `--ignore-certificate-errors-spki-list=${await publicKeyHash(said.port)}`,
  ]
}

async function publicKeyHash(port: number): Promise<string> {
  const socket = connect({
    host: "127.0.0.1",
    port,
    servername: "fal.run",
    rejectUnauthorized: false,
  })
  await once(socket, "secureConnect")
  const certificate = socket.getPeerX509Certificate()
  socket.destroy()
  const key = certificate?.publicKey.export({ type: "spki", format: "der" })
  return createHash("sha256")
    .update(key ?? "")
    .digest("base64")
}
