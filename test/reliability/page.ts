import type { Result } from "./results.ts"

/** docs/reference/reliability.md: what is promised, in words that stay, and what was tried, in numbers of the last runs. */

interface Trial {
  title: string
  /** The name of its result. */
  result: string
  command: string
  /** How much of it was run, as an argument of the command. */
  amount?: (result: Result) => string
  what: string
  /** What stands in the table of figures. */
  figures: (result: Result) => string
}

const long = (folder: string) => `npm run test:long -- ${folder}`

const trials: Trial[] = [
  {
    title: "Kills",
    result: "kills",
    command: long("test/crash/kill"),
    what: `The server is killed with -9, again and again on one data folder, while 16 connections submit: under load, between
spawn and listening, in the middle of a checkpoint. Afterwards every acknowledged request is asked for, twice, over HTTP.`,
    figures: ({ kills, acknowledged, seen }) =>
      `${count(kills)} kills; ${count(acknowledged)} acknowledged requests and ${count(seen)} results read in between, none lost or changed`,
  },
  {
    title: "Simulated schedules",
    result: "simulator",
    command: "npm run simulate --",
    amount: ({ schedules }) => `--schedules ${Number(schedules)}`,
    what: `The real dispatcher, domain and SQLite engine under a simulated clock, network, runners and disk: crashes, cut links,
zombies, full disks, all from a seed that replays exactly. Defects planted on purpose are found, which the tests hold.`,
    figures: ({ schedules, simulatedHours, firstSeed }) =>
      `${count(schedules)} schedules from seed ${count(firstSeed)}, ${count(simulatedHours)} simulated hours, no promise broken`,
  },
  {
    title: "Calls that fail",
    result: "io-failures",
    command: long("test/io-failures"),
    what: `A preloaded shim lets the n-th call on the data folder fail, for n = 1, 2, … until the phase passes untouched: a first
start, a start after a kill, a round of work, a checkpoint, a stop. From the 40th write or read on, which are frames of the log, every
seventh is tried. After each: the server answered an error in the API's shape, refused to start with a sentence, or exited
with 70; and everything it had promised is there, each request with one outcome. SQLite flushes with \`fsync\` here, so there
is no \`fdatasync\` to fail. Only the log's index is mapped into memory, where a real disk fails with SIGBUS, which is a kill.`,
    figures: ({ failed, exits }) =>
      `${Object.entries(failed as Record<string, number>)
        .filter(([, number]) => number > 0)
        .map(([call, number]) => `${call} ${count(number)}`)
        .join(", ")}; the server ended by ${count(exits)} of them, nothing lost`,
  },
  {
    title: "A full disk",
    result: "full-disk",
    command: "npx vitest run test/full-disk",
    what: `A small file system is filled to its last byte while submits, blobs, files and outcomes come in. Callers get 429 with
\`Retry-After\`, reads go on, \`/health\` says \`"storage": "full"\`; once there is space it goes on by itself. Killed and started while
it is full, it serves what it has or says what it lacks.`,
    figures: ({ megabytes, acknowledged, refused }) =>
      `${count(megabytes)} MB; ${count(acknowledged)} acknowledged, ${count(refused)} refused, nothing acknowledged lost`,
  },
  {
    title: "A torn log",
    result: "torn-log",
    command: long("test/torn-log"),
    what: `The write-ahead log of a killed server is cut or garbled at frames near and before its end: in a frame's header, in its
page, in its checksum, with zeros. What was acknowledged before that frame is there, and whatever else is there is whole.`,
    figures: ({ torn, kinds, lost }) =>
      `${count(torn)} tears of ${count(kinds)} kinds; of what came behind them ${count(lost)} requests were gone whole, none by half`,
  },
  {
    title: "Clock jumps",
    result: "clock-jumps",
    command: "npx vitest run test/clock-jumps",
    what: `The wall clock of server and runner is set forward and back by hours during attempts, backoffs, webhooks, and while the
server is down. Leases and deadlines of attempts count on the monotonic clock. Rows count on a clock that is never set back within a
life; a start that finds the clock set back shortens what waits by as much.`,
    figures: ({ jumps, hours }) =>
      `${count(jumps)} jumps of up to ${count(hours)} hours; no attempt lost, nothing held up`,
  },
  {
    title: "Fuzzing",
    result: "fuzz",
    command: "npm run fuzz --",
    amount: ({ minutes }) => `--minutes ${Number(minutes)}`,
    what: `Raw HTTP (methods, paths, headers, chunked and multipart bodies, pipelines, cuts), bodies near the endpoints' own schemas,
files that are not what was announced, frames of a broken runner, and the codec of the link: never a 500, never a crash, never a hang, and the next good call is served. A short
run with a fixed seed is part of \`npm test\`.`,
    figures: ({ sent, minutes }) =>
      `${count(minutes)} minutes: ${Object.entries(sent as Record<string, number>)
        .map(([part, number]) => `${part} ${count(number)}`)
        .join(", ")}`,
  },
  {
    title: "A storm of webhooks",
    result: "webhook-storm",
    command: long("test/webhook-storm"),
    what: `Receivers that are slow, fail, hang, redirect or reset, while their server is killed. Every arrival is audited against every
try on record; the dead delay nobody.`,
    figures: ({ requests, calls, kills }) =>
      `${count(requests)} webhooks, ${count(calls)} calls, ${count(kills)} kills; each delivered or exhausted`,
  },
  {
    title: "Mutations",
    result: "mutation",
    command: "npm run mutate",
    what: "The decisions of the domain are changed one place at a time; the tests must notice each.",
    figures: ({ changes, noticed }) => `${count(changes)} changes, ${count(noticed)} noticed`,
  },
]

function count(number: Result[string] | undefined): string {
  return typeof number === "number" ? number.toLocaleString("en") : "?"
}

const acknowledgement = `# Reliability

Generated by \`npm run reliability\`; the numbers are those of its last run.

## What an acknowledgement means

- **A submit that was answered with 200** is in SQLite's write-ahead log, flushed with \`synchronous=FULL\`; a large input is a
  file that was flushed and renamed, its folder flushed, before the row that names it. It survives \`kill -9\` and power loss and reaches
  exactly one terminal state.
- **A result that was read** never changes. An outcome is visible only after its commit.
- **Work may be done twice, its outcome is one.** After a lost attempt the request runs again; whoever lost the lease can
  write nothing.
- **A webhook that is owed** commits with the outcome, and is tried until it is delivered or exhausted; a receiver may hear twice.
- **An answer that is an error, or none, promises nothing.** The request may be there all the same: send it again with its
  \`Idempotency-Key\` ([idempotency.md](idempotency.md)).
- **Log lines and progress** are shown at once and written within half a second: the last of them may be lost in a crash of both
  server and runner.

When the disk fails, the server does not guess: a COMMIT that fails, its flush included, ends the process with exit code 70, before
anything of its batch is answered, and the next start reads what is true. A file whose flush fails is dropped, and its call fails. A full disk is no failure: callers get 429, reads go on.

## What was tried
`

const clocks = `
## What counts on the wall clock

Retention, expiry of files and tokens, idempotency windows and start deadlines are told in wall time, so a clock that is set forward
by a month removes what is a month old: let the clock be set before the server starts. Signatures of webhooks carry the wall clock's time, as
receivers hold it against theirs. A clock that is set back delays nothing.

## Not a good fit for

- **More than one writing server.** One process has the data folder; a second one is refused. There is no failover: the next start on
  the same disk takes over.
- **Network file systems** whose locks or flushes are not what they say. A disk that lies about its flush loses what it lied
  about.
- **Survival of the machine.** SQLite on one node is as durable as its disk. Copy the database with \`sqlite3 .backup\`, and the
  \`blobs\` folder after it.
- **Effects that must happen exactly once.** An app that charges a card may run twice; let it use the request's id as its key.
- **Streams and realtime sessions that outlive a server.** They end with their connection; only what is a request is durable.
- **Strict order.** Attempts run beside one another and retries come later; the queue is fair, not sequential.
- **Tens of thousands of durable requests a second.** Each is flushed; group commit carries some thousands on one good disk, and \`npm run
  bench\` says how many on yours.
`

/** The whole page. A trial that was never run says so. */
export function reliabilityPage(results: Map<string, Result>): string {
  const sections = trials.map(({ title, result, command, amount, what, figures }) => {
    const found = results.get(result)
    const shown = found === undefined ? command : [command, amount?.(found)].join(" ").trim()
    const outcome = found === undefined ? "No run on record." : `Last run: ${figures(found)}.`
    return `### ${title}\n\n${what}\n\n${outcome}\n\n\`${shown}\`\n`
  })
  return `${acknowledgement}\n${sections.join("\n")}${clocks}`
}
