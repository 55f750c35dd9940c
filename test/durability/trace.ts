import { readFile } from "node:fs/promises"

/** One system call of a traced process. `began` and `ended` are places in the order that the tracer saw, not times. */
export interface TracedCall {
  name: string
  /** What stands between its parentheses. */
  text: string
  /** The file or socket behind its first argument, as `strace -yy` names it; empty for a call on paths. */
  target: string
  /** What it returned; -1 for an error. */
  result: number
  began: number
  ended: number
}

const writes = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendfile"
const tracedCalls = `${writes},fsync,fdatasync,rename,renameat,renameat2,link,linkat`

/** The command in front of the server's own: the traced process keeps the pid that its parent knows. */
export function straceCommand(output: string): string[] {
  // 6,000 characters of each string: a page of the log and the head of an answer are shown whole.
  return [
    "strace",
    "-D",
    "-f",
    "-yy",
    "-ttt",
    "-s",
    "6000",
    "-e",
    `trace=${tracedCalls}`,
    "-o",
    output,
  ]
}

export async function readTrace(path: string): Promise<TracedCall[]> {
  return parseTrace(await readFile(path, "latin1"))
}

const whole = /^(\d+) +[\d.]+ (\w+)\((.*)\) += (-?\d+)/s
const opened = /^(\d+) +[\d.]+ (\w+)\((.*?) *<unfinished \.\.\.>$/s
const resumed = /^(\d+) +[\d.]+ <\.\.\. (\w+) resumed>(.*)\) += (-?\d+)/s

/** A call that another thread interrupted comes in two lines: it began at the first and ended at the second. */
export function parseTrace(text: string): TracedCall[] {
  const calls: TracedCall[] = []
  const unfinished = new Map<string, { name: string; text: string; began: number }>()
  for (const [place, line] of text.split("\n").entries()) {
    const complete = whole.exec(line)
    if (complete !== null && !line.includes("<... ")) {
      const [, , name, inside, result] = complete
      calls.push(traced(name!, inside!, Number(result), place, place))
      continue
    }
    const start = opened.exec(line)
    if (start !== null) {
      unfinished.set(`${start[1]} ${start[2]}`, { name: start[2]!, text: start[3]!, began: place })
      continue
    }
    const end = resumed.exec(line)
    const begun = end === null ? undefined : unfinished.get(`${end[1]} ${end[2]}`)
    if (end === null || begun === undefined) continue
    unfinished.delete(`${end[1]} ${end[2]}`)
    calls.push(traced(begun.name, begun.text + end[3]!, Number(end[4]), begun.began, place))
  }
  return calls.toSorted((a, b) => a.began - b.began)
}

function traced(
  name: string,
  text: string,
  result: number,
  began: number,
  ended: number,
): TracedCall {
  // `12</path/to/file>` or `25<TCP:[127.0.0.1:4000->127.0.0.1:5000]>`
  const target = /^\d+<((?:[^<>]|->)*)>/.exec(text)?.[1] ?? ""
  return { name, text, target, result, began, ended }
}
