/** The lines that requests log where their status is polled with logs. */
export const logLineCount = 20

export function logLineText(line: number): string {
  return `line ${line + 1} of ${logLineCount}: a lighthouse at dusk, oil on canvas`
}
