import { rm } from "node:fs/promises"
import { join } from "node:path"
import { missingNginx, startNginx } from "../contenders/nginx.ts"
import { withRunning } from "../contenders/session.ts"
import { tintype } from "../contenders/tintype.ts"
import { spreadOf } from "../statistics.ts"
import { atLeast, format, formatSpread } from "../targets.ts"
import type { Bench, Row, RowReport } from "./row.ts"

const bytes = 100_000_000
const transfersARound = 5
const shareOfNginxMin = 0.6

export const files: Row = {
  name: "files",
  title: "Files",
  about: `Uploads and downloads of ${bytes / 1e6} MB, one after another: POST /files/upload, acknowledged when file, folder and row are flushed, and GET of what it made; nginx: PUT, after which the load flushes the file before the time is taken, and GET by sendfile.`,
  measure,
}

interface Figures {
  upload: number[]
  download: number[]
}

async function measure(bench: Bench): Promise<RowReport> {
  const missing = missingNginx()
  const own: Figures[] = []
  const nginx: Figures[] = []
  for (let round = 0; round < bench.settings.rounds; round += 1) {
    own.push(await transferOwn(bench))
    if (missing === null) nginx.push(await transferNginx(bench))
  }
  const rows = [cells("tintype", own), ...(missing === null ? [cells("nginx", nginx)] : [])]
  return {
    tables: [
      {
        caption: "Megabytes a second: median (least–most)",
        header: ["", "upload", "download"],
        rows,
      },
    ],
    verdicts: missing === null ? [judge("upload"), judge("download")] : [],
    notes: missing === null ? [] : [`Not measured: nginx: it needs ${missing}.`],
  }

  function judge(what: keyof Figures) {
    return atLeast({
      figure: `${what} of ${bytes / 1e6} MB`,
      of: `${shareOfNginxMin} × nginx`,
      value: shareOfNginxMin * spreadOf(nginx.flatMap((one) => one[what])).median,
      measured: spreadOf(own.flatMap((one) => one[what])).median,
      unit: "MB/s",
    })
  }
}

function cells(name: string, rounds: Figures[]): string[] {
  const cell = (what: keyof Figures) => formatSpread(rounds.flatMap((one) => one[what]))
  return [name, cell("upload"), cell("download")]
}

async function transferOwn(bench: Bench): Promise<Figures> {
  return await withRunning(bench, tintype, async ({ target: { port } }) => {
    const up = { port, method: "POST", path: "/files/upload", bytes, flushes: null } as const
    await bench.load.order("uploads", { ...up, count: 1 })
    const sent = await bench.load.order("uploads", { ...up, count: transfersARound })
    const { access_url: url } = JSON.parse(sent.answer) as { access_url: string }
    return await download(bench, "tintype", port, new URL(url).pathname, sent.perSecond)
  })
}

async function transferNginx(bench: Bench): Promise<Figures> {
  const folder = await bench.makeFolder("nginx")
  const { port, files: kept, server } = await startNginx(bench.processes, folder)
  const path = "/upload"
  const up = { port, method: "PUT", path, bytes, flushes: join(kept, "upload") } as const
  await bench.load.order("uploads", { ...up, count: 1 })
  const sent = await bench.load.order("uploads", { ...up, count: transfersARound })
  const figures = await download(bench, "nginx", port, path, sent.perSecond)
  await server.end("SIGTERM")
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  return figures
}

async function download(
  bench: Bench,
  name: string,
  port: number,
  path: string,
  upload: number[],
): Promise<Figures> {
  const down = { port, method: "GET", path, bytes } as const
  await bench.load.order("downloads", { ...down, count: 1 })
  const read = await bench.load.order("downloads", { ...down, count: transfersARound })
  const [up, got] = [spreadOf(upload).median, spreadOf(read.perSecond).median]
  bench.say(`${name}: ${format(up)} MB/s up, ${format(got)} MB/s down`)
  return { upload, download: read.perSecond }
}
