import { createHash } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

/** Plays the hub on a local port: its listing, its redirects to a store on another host, ranges, and what can go wrong. */
export interface StandInHub {
  url: string
  /** What was asked: `GET /api/…`, with the range and the credentials. */
  asked: { path: string; range?: string; authorization?: string; host: "hub" | "store" }[]
  /** Looked at when a file is sent: true when it answered by itself. */
  onFile: (path: string, answer: ServerResponse, content: Buffer, start: number) => boolean
  close(): Promise<void>
}

export interface StandInModel {
  /** `owner/name` */
  id: string
  revision: string
  files: Readonly<Record<string, Buffer | string>>
  /** Files from that size on are stored elsewhere, with a SHA-256. */
  largeFrom?: number
  pageLength?: number
  /** Replaces the checksums that the listing says. */
  checksum?: string
}

export async function openStandInHub(model: StandInModel): Promise<StandInHub> {
  const contents = new Map(
    Object.entries(model.files).map(([path, content]) => [path, Buffer.from(content)]),
  )
  const isLarge = (content: Buffer) => content.length >= (model.largeFrom ?? Infinity)
  const hub: StandInHub = { url: "", asked: [], onFile: () => false, close: async () => undefined }
  const sendFile = (path: string, message: IncomingMessage, answer: ServerResponse) => {
    const content = contents.get(path)
    if (content === undefined) {
      answer.writeHead(404).end()
      return
    }
    const start = Number(/^bytes=(\d+)-$/.exec(message.headers.range ?? "")?.[1] ?? 0)
    if (hub.onFile(path, answer, content, start)) return
    answer.writeHead(message.headers.range === undefined ? 200 : 206).end(content.subarray(start))
  }
  const note = (message: IncomingMessage, host: "hub" | "store") => {
    const { range, authorization } = message.headers
    const path = decodeURI(message.url ?? "")
    hub.asked.push({
      path,
      host,
      ...(range === undefined ? {} : { range }),
      ...(authorization === undefined ? {} : { authorization }),
    })
  }
  const store = createServer((message, answer) => {
    note(message, "store")
    sendFile(decodeURI(message.url ?? "").slice(1), message, answer)
  })
  const storeUrl = await listen(store)
  const revision = encodeURIComponent(model.revision)
  const front = createServer((message, answer) => {
    note(message, "hub")
    const { pathname, searchParams } = new URL(message.url ?? "", "http://hub")
    if (pathname === `/api/models/${model.id}/tree/${revision}`) {
      const first = Number(searchParams.get("cursor") ?? 0)
      const { pageLength = 1_000 } = model
      const page = [...contents].slice(first, first + pageLength)
      const more = first + pageLength < contents.size
      const next = `<${hub.url}${pathname}?recursive=true&cursor=${first + pageLength}>; rel="next"`
      answer.writeHead(200, more ? { link: next } : {})
      answer.end(JSON.stringify(page.map(([path, content]) => entryOf(path, content))))
      return
    }
    const resolved = `/${model.id}/resolve/${revision}/`
    if (!pathname.startsWith(resolved)) {
      answer.writeHead(404).end()
      return
    }
    const path = decodeURI(pathname.slice(resolved.length))
    const content = contents.get(path)
    if (content === undefined || !isLarge(content)) sendFile(path, message, answer)
    else answer.writeHead(302, { location: `${storeUrl}/${path}` }).end()
  })
  const entryOf = (path: string, content: Buffer) => {
    const oid = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex")
    const sha256 = createHash("sha256").update(content).digest("hex")
    const entry = { type: "file", path, size: content.length, oid: model.checksum ?? oid }
    if (!isLarge(content)) return entry
    return { ...entry, oid: "of the pointer", lfs: { oid: model.checksum ?? sha256 } }
  }
  hub.url = await listen(front)
  hub.close = async () => {
    for (const server of [front, store]) {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    }
  }
  return hub
}

async function listen(server: ReturnType<typeof createServer>): Promise<string> {
  await new Promise<void>((done) => {
    server.listen(0, "127.0.0.1", () => done())
  })
  const address = server.address()
  return typeof address === "object" && address !== null ? `http://127.0.0.1:${address.port}` : ""
}
