import type { TaggedUnionNode, UnionNode } from "../schema/node.ts"
import { isPlainObject, type Check } from "./containers.ts"
import { branchName, pythonRepr } from "./python-text.ts"
import { closeness, invalid, Run, type Checked, type Place } from "./run.ts"

/**
 * Pydantic's smart mode: every option is tried; the one that used the most fields wins, then the closest, then the first.
 * Where none fits, every option's errors are told under its name.
 */
export function checkUnion(
  node: UnionNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked {
  let best: { value: unknown; run: Run } | null = null
  const failures: Run[] = []
  for (const option of node.options) {
    const attempt = new Run()
    const value = check(option, input, { parent: place, key: branchName(option) }, attempt)
    if (value === invalid) failures.push(attempt)
    else if (best === null || isBetter(attempt, best.run)) best = { value, run: attempt }
    if (best !== null && isPerfect(best.run)) break
  }
  if (best === null) {
    for (const failure of failures) run.adopt(failure)
    return invalid
  }
  run.loosen(best.run.closeness)
  run.addFieldsSet(best.run.fieldsSet)
  return best.value
}

function isPerfect(run: Run): boolean {
  return run.closeness === closeness.exact && run.fieldsSet === null
}

function isBetter(candidate: Run, current: Run): boolean {
  if (candidate.fieldsSet !== null && current.fieldsSet !== null) {
    if (candidate.fieldsSet !== current.fieldsSet) return candidate.fieldsSet > current.fieldsSet
  }
  return candidate.closeness > current.closeness
}

export function checkTaggedUnion(
  node: TaggedUnionNode,
  input: unknown,
  place: Place | null,
  run: Run,
  check: Check,
): Checked {
  if (!isPlainObject(input)) {
    const msg = "Input should be a valid dictionary or object to extract fields from"
    return run.fail(place, input, "model_attributes_type", msg)
  }
  const discriminator = pythonRepr(node.discriminator)
  if (!Object.hasOwn(input, node.discriminator)) {
    const msg = `Unable to extract tag using discriminator ${discriminator}`
    return run.fail(place, input, "union_tag_not_found", msg, { discriminator })
  }
  const given = input[node.discriminator]
  const option = typeof given === "string" ? node.options.get(given) : undefined
  if (typeof given === "string" && option !== undefined) {
    return check(option, input, { parent: place, key: given }, run)
  }
  const tag = tagText(given)
  const expected = [...node.options.keys()].map(pythonRepr).join(", ")
  const msg = `Input tag '${tag}' found using ${discriminator} does not match any of the expected tags: ${expected}`
  const ctx = { discriminator, tag, expected_tags: expected }
  return run.fail(place, input, "union_tag_invalid", msg, ctx)
}

/** Longer than any tag that could be meant; Pydantic would repeat it whole. */
const tagLengthMax = 200

function tagText(given: unknown): string {
  const text = typeof given === "string" ? given : pythonRepr(given)
  return text.length > tagLengthMax ? `${text.slice(0, tagLengthMax)}…` : text
}
