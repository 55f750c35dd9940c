import { expect, test } from "vitest"
import { programEnvironment } from "./program-environment.ts"

const doors = {
  proxyUrl: "http://tintype:secret@127.0.0.1:4000",
  bundlePath: "/tmp/ca.pem",
  key: "tintype:none",
  url: "http://127.0.0.1:3250",
}

test("every runtime is told of the proxy and whom to trust, and loopback is called directly", () => {
  const environment = programEnvironment({ PATH: "/bin", no_proxy: "corp.example" }, doors)
  const { proxyUrl, bundlePath } = doors
  expect(environment).toMatchObject({
    PATH: "/bin",
    HTTPS_PROXY: proxyUrl,
    http_proxy: proxyUrl,
    all_proxy: proxyUrl,
    NO_PROXY: "localhost,127.0.0.1",
    no_proxy: "localhost,127.0.0.1",
    NODE_USE_ENV_PROXY: "1",
    NODE_EXTRA_CA_CERTS: bundlePath,
    SSL_CERT_FILE: bundlePath,
    REQUESTS_CA_BUNDLE: bundlePath,
    CURL_CA_BUNDLE: bundlePath,
    DENO_CERT: bundlePath,
    TINTYPE_URL: doors.url,
  })
})

test("the program never sees the caller's own key, and nothing leads it past us", () => {
  const inherited = {
    FAL_KEY: "real:secret",
    FAL_KEY_ID: "real",
    FAL_KEY_SECRET: "secret",
    FAL_API_KEY: "real:secret",
    FAL_RUN_HOST: "elsewhere.example",
    FAL_QUEUE_RUN_HOST: "elsewhere.example",
  }
  const environment = programEnvironment(inherited, doors)
  expect(environment).toMatchObject({ FAL_KEY: "tintype:none", FAL_API_KEY: "tintype:none" })
  expect(JSON.stringify(environment)).not.toMatch(/real|elsewhere|FAL_KEY_|_HOST/)
  expect(inherited.FAL_KEY).toBe("real:secret")
})
