import { spawn } from "child_process"
import { constants } from "os"

/** What the server exits with when it must be started again: a COMMIT failed, only recovery can tell what holds. */
const restartCode = 70
const restartsMax = 5
const restartWindowMs = 60_000
const parentEveryMs = 200
const signals = ["SIGINT", "SIGTERM", "SIGHUP"]

/**
 * Runs the command until it ends for good, and resolves to its exit code. After exit code 70 it is started again, at
 * most five times a minute, unless a signal came in between.
 *
 * Every signal is passed on. On a terminal Ctrl-C reaches the child as well, and npm sends it once more: the
 * child takes what arrives within a moment as one (packages/cli/src/interrupts.ts), because only there is it known.
 */
export async function launch(command, args) {
  let child = null
  let stopping = false
  const passOn = (signal) => {
    stopping = true
    if (child !== null) child.kill(signal)
  }
  for (const signal of signals) process.on(signal, passOn)
  onLostParent(() => passOn("SIGTERM"))
  const restarts = []
  for (;;) {
    child = spawn(command, args, { stdio: "inherit" })
    const code = await exitCode(child)
    child = null
    if (code !== restartCode || stopping) return code
    const now = Date.now()
    restarts.push(now)
    if (restarts.filter((at) => now - at < restartWindowMs).length > restartsMax) {
      console.error(
        `The server ended with ${code} more than ${restartsMax} times a minute; giving up.`,
      )
      return code
    }
    console.error(`The server ended with ${code}; starting it again.`)
  }
}

/**
 * npm runs a script in a shell and sends that one the signals it gets; the shell ends and tells nobody. So under npm
 * a lost parent is taken for the signal that was meant for us.
 */
function onLostParent(listener) {
  if (process.env.npm_lifecycle_event === undefined) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    listener()
  }, parentEveryMs)
  timer.unref()
}

function exitCode(child) {
  return new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(`The server cannot be started: ${error.message}`)
      resolve(1)
    })
    child.once("exit", (code, signal) => {
      resolve(signal === null ? code : 128 + constants.signals[signal])
    })
  })
}
