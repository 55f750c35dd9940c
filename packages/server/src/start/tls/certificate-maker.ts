import { KeyObject, randomBytes, type webcrypto } from "node:crypto"
import { isIP } from "node:net"
import { parentPort, workerData } from "node:worker_threads"
import type { CertificateOrder, MadeCertificates } from "./certificates.ts"

/**
 * A thread that makes one authority and one certificate, and ends; the authority's key ends with it. A thread, because the
 * library takes 24 MB, which are given back, and asks for functions of `Reflect` that only a polyfill would bring. None of
 * its answers depends on them as long as its own classes take no arguments, so here they know nothing.
 */
Object.assign(Reflect, {
  getMetadata: () => undefined,
  getOwnMetadata: () => undefined,
  defineMetadata: () => undefined,
})
const x509 = await import("@peculiar/x509")

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }
const hourMs = 3_600_000

const made = await makeCertificates(workerData as CertificateOrder)
parentPort?.postMessage(made, [])

async function makeCertificates(order: CertificateOrder): Promise<MadeCertificates> {
  const { names, now, validMs } = order
  // Another machine's clock may be a little behind.
  const period = { notBefore: new Date(now - hourMs), notAfter: new Date(now - hourMs + validMs) }
  const authority = await generateKeys(false)
  // A new authority gets a new name, so that a program with several of them asks the right one.
  const issuer = `CN=Tintype local authority ${randomBytes(4).toString("hex")}, O=Tintype`
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...period,
    name: issuer,
    keys: authority,
    serialNumber: serialNumber(),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(authority.publicKey),
    ],
  })
  const keys = await generateKeys(true)
  const leaf = await x509.X509CertificateGenerator.create({
    ...period,
    subject: "CN=Tintype, O=Tintype",
    issuer,
    publicKey: keys.publicKey,
    signingKey: authority.privateKey,
    serialNumber: serialNumber(),
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value })),
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  })
  const key = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }).toString()
  return { leaf: `${leaf.toString("pem")}\n`, key, ca: `${ca.toString("pem")}\n` }
}

async function generateKeys(extractable: boolean): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithm, extractable, ["sign", "verify"])
}

/** RFC 5280, 4.1.2.2: positive, at most 20 bytes. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString("hex")
}
