import { expect, test } from "vitest"
import { safeFileName, storedType } from "./file-name.ts"

test.each([
  ["cat.png", "image/png", "cat.png"],
  ["Cat 1 (final).PNG", "image/png", "Cat_1_final_.PNG"],
  ["../../etc/passwd", "text/plain", "passwd.txt"],
  ["..\\..\\boot.ini", "text/plain", "boot.ini"],
  ["..", "image/png", "file.png"],
  ["", "image/png", "file.png"],
  [".htaccess", "text/plain", "htaccess.txt"],
  ["-rf.txt", "text/plain", "rf.txt"],
  ["__.png", "image/png", "png.png"],
  ["a\"b'c\r\nd: e.png", "image/png", "a_b_c_d_e.png"],
  ["Ünï-cödé 猫.png", "image/png", "n_-c_d_.png"],
  ["猫.png", "image/jpeg", "png.jpg"],
  ["a.tar.gz", "application/gzip", "a.tar.gz"],
  ["a.", "image/webp", "a..webp"],
  ["a", "image/svg+xml", "a.svg"],
  ["a", "audio/x-wav", "a.wav"],
  ["a", "image/jpeg", "a.jpg"],
  ["a", "application/octet-stream", "a.bin"],
  ["a", "application/vnd.very-long-name", "a.vnd"],
  ["a", "application/averyveryverylongone", "a.bin"],
  ["a", "nonsense", "a.bin"],
  ["a", "", "a.bin"],
  ["x".repeat(300) + ".png", "image/png", "x".repeat(84) + ".png"],
  ["a." + "x".repeat(15), "image/png", "a." + "x".repeat(15)],
  ["a." + "x".repeat(16), "image/png", "a." + "x".repeat(16) + ".png"],
  ["..\n/b.png", "image/png", "b.png"],
])("the name %j of a file of type %s is kept as %s", (given, type, kept) => {
  expect(safeFileName(given, type)).toBe(kept)
  expect(safeFileName(given, type)).toMatch(/^[\w.-]+$/)
})

test.each([
  ["image/png", "image/png"],
  [" text/html; charset=utf-8 ", "text/html; charset=utf-8"],
  ["a".repeat(100) + "/b", "a".repeat(100) + "/b"],
  ["a".repeat(254) + "/b", "a".repeat(254) + "/b"],
  ["a".repeat(255) + "/b", "application/octet-stream"],
  ["image", "application/octet-stream"],
  ["image/png\r\nx: y", "application/octet-stream"],
  ["x image/png", "application/octet-stream"],
  ["image/png; a=ü", "application/octet-stream"],
  ["", "application/octet-stream"],
  [undefined, "application/octet-stream"],
])("the type %j is kept as %s", (given, kept) => {
  expect(storedType(given)).toBe(kept)
})
