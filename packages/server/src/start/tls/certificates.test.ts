import { execFile } from "node:child_process"
import { createPublicKey, X509Certificate } from "node:crypto"
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { isIP } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { foreignHosts } from "@tintype/protocol"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { type Certificates, isCurrent, openCertificates } from "./certificates.ts"
import { certificateNames } from "./names.ts"

const run = promisify(execFile)
const dayMs = 86_400_000
const names = certificateNames({ host: "127.0.0.1", publicUrl: null })
const now = Date.now()

let folder: string
let made: Certificates
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tintype-tls-"))
  made = await openCertificates(folder, names, now)
})
afterAll(() => rm(folder, { recursive: true }))

const openssl = await run("openssl", ["version"]).catch(() => null)
if (openssl === null) console.log("skipped: what OpenSSL says (there is no openssl)")

test.skipIf(openssl === null)("OpenSSL's strictest check passes, for every name", async () => {
  await writeFile(join(folder, "leaf.pem"), made.leaf)
  for (const name of names) {
    const check = isIP(name) === 0 ? "-verify_hostname" : "-verify_ip"
    const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"]
    const { stdout } = await run("openssl", [...args, check, name, "leaf.pem"], { cwd: folder })
    expect(stdout).toBe("leaf.pem: OK\n")
  }
})

test("the leaf is for every foreign host and this machine, for 398 days at most, and signs nothing", () => {
  const leaf = new X509Certificate(made.leaf)
  const ca = new X509Certificate(made.ca)
  for (const host of [...Object.keys(foreignHosts), "localhost", "queue.localhost"]) {
    expect(leaf.checkHost(host, { wildcards: false })).toBe(host)
  }
  expect([leaf.checkIP("127.0.0.1"), leaf.checkIP("::1")]).toEqual(["127.0.0.1", "::1"])
  expect(leaf.checkHost("wma.fal.run")).toBeUndefined()
  expect(leaf.checkHost("example.com")).toBeUndefined()
  expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBeLessThan(398 * dayMs)
  expect(leaf.validFromDate.getTime()).toBeLessThan(now)
  expect([leaf.ca, ca.ca]).toEqual([false, true])
  expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey)).toBe(true)
})

test("the files are their owner's alone, and the authority's key is in none of them", async () => {
  const texts: string[] = []
  for (const file of ["certificates.json", "ca.pem"]) {
    const path = join(folder, file)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    texts.push(await readFile(path, "utf8"))
  }
  const keys = texts.join("\n").match(/-----BEGIN [A-Z ]*PRIVATE KEY-----/g)
  expect(keys).toHaveLength(1)
  expect(new X509Certificate(made.leaf).publicKey).toEqual(createPublicKey(made.key))
  expect(await readdir(folder)).not.toContain("certificates.json.new")
})

describe("a later start", () => {
  test("uses the same certificates for 90 days, then makes others with another authority", async () => {
    expect(await openCertificates(folder, names, now + 89 * dayMs)).toEqual(made)
    const own = await mkdtemp(join(folder, "renewed-"))
    const first = await openCertificates(own, names, now)
    const second = await openCertificates(own, names, now + 91 * dayMs)
    expect(second.madeAt).toBe(now + 91 * dayMs)
    const subjects = [first, second].map(({ ca }) => new X509Certificate(ca).subject)
    expect(subjects[0]).not.toBe(subjects[1])
    expect(await readFile(join(own, "ca.pem"), "utf8")).toBe(second.ca)
  })

  test("makes others when the server is called by another name, or what is there is damaged", async () => {
    expect(isCurrent(made, names, now)).toBe(true)
    expect(isCurrent(made, [...names, "tintype.example.com"], now)).toBe(false)
    expect(isCurrent(made, names, now - 2 * dayMs)).toBe(false)
    const own = await mkdtemp(join(folder, "damaged-"))
    for (const text of ["", "{", "[]", '{"leaf":"-----BEGIN "}', "null"]) {
      await writeFile(join(own, "certificates.json"), text)
      const found = await openCertificates(own, names, now)
      expect(new X509Certificate(found.leaf).checkIssued(new X509Certificate(found.ca))).toBe(true)
    }
  })
})

test("names are those of the API, of this machine, and what the server itself is called by", () => {
  const named = certificateNames({ host: "192.168.1.5", publicUrl: "https://Tin.example.com/x" })
  expect(named).toEqual([...names, "192.168.1.5", "tin.example.com"])
  expect(certificateNames({ host: "0.0.0.0", publicUrl: null })).toEqual(names)
  expect(certificateNames({ host: "::", publicUrl: "http://[::1]:3250" })).toEqual(names)
})
