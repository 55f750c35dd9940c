/* oxlint-disable no-underscore-dangle, typescript/no-unsafe-type-assertion -- zod keeps what it lets others read under
   `_zod`, typed only as the most general schema; this module is the one that reaches in. */
import { globalRegistry, type core } from "zod"

export type ZodSchema = core.$ZodType
export type ZodDef = core.$ZodTypes["_zod"]["def"]
export type ZodCheck = core.$ZodCheck
/** A check as data: `check` names it, the rest depends on the name. */
export interface CheckDef extends Record<string, unknown> {
  check: string
}

/** What a schema is made of; undefined when the value is no zod schema. */
export function defOf(schema: ZodSchema): ZodDef | undefined {
  const { _zod } = schema as Partial<core.$ZodTypes>
  return _zod?.def
}

/** What `.meta()` and `.describe()` said, the parents' words included. */
export function metaOf(schema: ZodSchema): Record<string, unknown> {
  const { id: _, ...meta } = globalRegistry.get(schema) ?? {}
  return meta
}

/** What `.meta()` cloned to make this schema. */
export function parentOf(schema: ZodSchema): ZodSchema | undefined {
  return schema._zod.parent
}

/** What optional, default, nullable and the like are around; undefined for a schema that stands by itself. */
export function wrappedBy(schema: ZodSchema): ZodSchema | undefined {
  const def = defOf(schema)
  return def !== undefined && "innerType" in def ? def.innerType : undefined
}

export function checksOf(def: ZodDef): ZodCheck[] {
  return def.checks ?? []
}

export function defOfCheck(check: ZodCheck): CheckDef {
  return check._zod.def as core.$ZodCheckDef & CheckDef
}

/** Runs a check on a value; what it objects to is added to `issues`. */
export function runCheck(check: ZodCheck, value: unknown, issues: core.$ZodRawIssue[]): unknown {
  const payload = { value, issues } as core.ParsePayload<never>
  return check._zod.check(payload)
}
