/** How variables are set in a shell, or in a file of them. */
export type Shell = keyof typeof assignments

/** Each puts a value down so that it is read back as it is, whatever is in it. */
const assignments = {
  sh: (name: string, value: string) => `export ${name}='${value.replaceAll("'", `'\\''`)}'`,
  fish: (name: string, value: string) =>
    `set -gx ${name} '${value.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`,
  powershell: (name: string, value: string) => `$env:${name} = '${value.replaceAll("'", "''")}'`,
  // Docker takes quotes for a part of the value, so they are there only when they must be.
  dotenv: (name: string, value: string) =>
    `${name}=${/^[\w./:@%+,~-]*$/.test(value) ? value : quote(value)}`,
}

export const shells = Object.keys(assignments) as Shell[]

export function isShell(name: string): name is Shell {
  return Object.hasOwn(assignments, name)
}

/** One line a variable. */
export function assign(shell: Shell, variables: Record<string, string>): string {
  const lines = Object.entries(variables).map(([name, value]) => assignments[shell](name, value))
  return lines.map((line) => `${line}\n`).join("")
}

/** Nothing means anything in single quotes, and nothing can stand for one. */
function quote(value: string): string {
  return value.includes("'") ? `"${value.replaceAll(/["\\$`]/g, "\\$&")}"` : `'${value}'`
}
