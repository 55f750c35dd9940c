import { isIP } from "node:net"

/** A setting is wrong; the message is one line and never holds a secret. */
export class ConfigError extends Error {
  readonly code = "config"

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = "ConfigError"
  }
}

/** Gives the value back in the shape that the configuration keeps, or throws a `ConfigError` that starts with `name`. */
export type Check<Value> = (value: unknown, name: string) => Value

export const text: Check<string> = (value, name) => {
  if (typeof value === "string" && value !== "") return value
  throw refuse(name, "must be a text", value)
}

export const boolean: Check<boolean> = (value, name) => {
  if (typeof value === "boolean") return value
  throw refuse(name, "must be true or false", value)
}

export function integer(min: number, max: number): Check<number> {
  return (value, name) => {
    if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max)
      return Number(value)
    throw refuse(name, `must be a whole number from ${min} to ${max}`, value)
  }
}

const port = integer(0, 65_535)

export const tlsPort: Check<number | "off"> = (value, name) => {
  if (value === "off") return value
  if (typeof value === "number") return port(value, name)
  throw refuse(name, "must be a port or off", value)
}

/** A limit or a time; 0 is a fair value of some (`drainMs`). */
export const amount = integer(0, Number.MAX_SAFE_INTEGER)

/** How much the painter dawdles; 0 is not at all. */
export const pace: Check<number> = (value, name) => {
  if (typeof value === "number" && value >= 0 && value <= 100) return value
  throw refuse(name, "must be a number from 0 to 100", value)
}

export function oneOf<Word extends string>(...words: Word[]): Check<Word> {
  return (value, name) => {
    const word = words.find((one) => one === value)
    if (word !== undefined) return word
    throw refuse(name, `must be ${words.join(" or ")}`, value)
  }
}

export function nullable<Value>(check: Check<Value>): Check<Value | null> {
  return (value, name) => (value === null ? null : check(value, name))
}

export function list<Value>(check: Check<Value>): Check<Value[]> {
  return (value, name) => {
    if (!Array.isArray(value)) throw refuse(name, "must be a list", value)
    return value.map((one) => check(one, name))
  }
}

export const object: Check<Record<string, unknown>> = (value, name) => {
  if (isObject(value)) return value
  throw refuse(name, "must be an object", value)
}

export const host: Check<string> = (value, name) => {
  const isName = typeof value === "string" && /^[a-z\d]([a-z\d.-]{0,251}[a-z\d])?$/i.test(value)
  // A name such as 300.1.2.3 would be looked up and not found; it was meant as an address.
  const isBadAddress = typeof value === "string" && /^[\d.]+$/.test(value) && isIP(value) === 0
  if (typeof value === "string" && (isIP(value) !== 0 || (isName && !isBadAddress))) return value
  throw refuse(name, "must be an address or a host name, without a port", value)
}

export const publicUrl: Check<string> = (value, name) => {
  const url = typeof value === "string" ? parseHttp(value) : null
  if (url === null || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw refuse(name, "must be an http:// or https:// address without query or user", value)
  }
  return url.href.replace(/\/+$/, "")
}

export const origin: Check<string> = (value, name) => {
  const url = typeof value === "string" ? parseHttp(value) : null
  if (url !== null && (value === url.origin || value === `${url.origin}/`)) return url.origin
  throw refuse(name, "must be origins such as https://app.example.com, without a path", value)
}

/** A single address counts as a block of one. */
export const cidr: Check<string> = (value, name) => {
  const [address = "", prefix, ...rest] = typeof value === "string" ? value.split("/") : []
  const version = isIP(address)
  const bits = version === 6 ? 128 : 32
  const length =
    prefix === undefined ? bits : Number(/^\d{1,3}$/.test(prefix) ? prefix : Number.NaN)
  if (version !== 0 && rest.length === 0 && length <= bits) return `${address}/${length}`
  throw refuse(name, "must be CIDR blocks such as 10.0.0.0/8", value)
}

/** The value is a secret and stays out of the message. */
export const key: Check<string> = (value, name) => {
  if (typeof value === "string" && /^[^\s:]+:\S+$/.test(value)) return value
  throw new ConfigError(`${name} must be id:secret, without spaces`)
}

export function toNumber(given: string): unknown {
  return /^-?\d+(\.\d+)?$/.test(given.trim()) ? Number(given) : given
}

export function toBoolean(given: string): unknown {
  const words: Record<string, boolean> = { true: true, 1: true, false: false, 0: false }
  return Object.hasOwn(words, given) ? words[given] : given
}

export function toJson(given: string): unknown {
  try {
    return JSON.parse(given)
  } catch {
    return given
  }
}

export function toList(given: string): string[] {
  return given
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "")
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function parseHttp(value: string): URL | null {
  const url = URL.parse(value)
  return url !== null && /^https?:$/.test(url.protocol) ? url : null
}

function refuse(name: string, must: string, value: unknown): ConfigError {
  const shown = JSON.stringify(value) ?? String(value)
  return new ConfigError(`${name} ${must}; it is ${shown.slice(0, 100)}`)
}
