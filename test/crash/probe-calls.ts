import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

/** The environment of a server that serves the probe beside the built-in apps. */
export const withProbe = { TINTYPE_APPS: join(import.meta.dirname, "../apps/probe.ts") }

export interface ProbeInput {
  starts_file?: string
  ends_file?: string
  heeds?: boolean
  duration_ms?: number
  lines?: number
}

export interface ProbeStatus {
  status: string
  error_type?: string
  logs: { message: string; labels: Record<string, string> }[] | null
}

/** Submits to the probe and returns the request's id. */
export async function submitProbe(url: string, input: ProbeInput): Promise<string> {
  const answer = await postProbe(url, "queue", input)
  if (answer.status !== 200) throw new Error(`submit answered ${answer.status}`)
  const { request_id: id } = (await answer.json()) as { request_id: string }
  return id
}

export async function postProbe(
  url: string,
  door: "queue" | "run",
  input: ProbeInput,
): Promise<Response> {
  return await fetch(`${url}/${door}/test/probe`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(input),
  })
}

export async function probeStatus(url: string, id: string): Promise<ProbeStatus> {
  const answer = await fetch(`${url}/queue/test/probe/requests/${id}/status?logs=1`)
  return (await answer.json()) as ProbeStatus
}

/** Its result, as soon as there is one. */
export async function probeResult(url: string, id: string): Promise<Response> {
  return await fetch(`${url}/queue/test/probe/requests/${id}`, { headers: { prefer: "wait=60" } })
}

/** The lines that the probe's starts, or ends, have left: `{request} {attempt}`. */
export async function readStarts(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch(() => "")
  return text.split("\n").filter((line) => line !== "")
}

/** Polls until it is so. */
export async function until(
  what: string,
  isSo: () => Promise<boolean>,
  deadlineMs = 15_000,
): Promise<void> {
  const end = performance.now() + deadlineMs
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`)
    await sleep(20)
  }
}

export async function untilStarts(path: string, count: number): Promise<void> {
  await until(`${count} starts`, async () => (await readStarts(path)).length >= count)
}
