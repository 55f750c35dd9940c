/*
 * A disk that fails once, for one process: preloaded (LD_PRELOAD), it lets the n-th call of a kind on the files of a
 * folder fail with an errno. Which one is told by a file that is mapped, so that a test can arm it while the process runs.
 *
 *   FAIL_FOLDER   the absolute path whose files are watched
 *   FAIL_CONTROL  the file of the struct below, outside of that folder
 *
 * A failed call does nothing: no byte is written, no name made. What SQLite maps (its shared memory, pages of the database
 * that it reads) is no call and cannot fail here; a real disk answers those with SIGBUS, which ends the process as a kill does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, WRITE, FSYNC, FDATASYNC, RENAME, OPEN, READ, TRUNCATE, UNLINK, MKDIR };

struct control {
  int32_t kind;
  int32_t error;
  /* Of calls until the one that fails; 0 once it has, or when none is to. */
  int32_t left;
  int32_t fired;
  /* Of calls of any kind, for who wants to see that something is watched at all. */
  int32_t seen;
  char path[1004];
};

#define FDS 65536
#define REAL(name) real_##name
#define LOAD(name) REAL(name) = dlsym(RTLD_NEXT, #name)

static int (*REAL(open))(const char *, int, ...);
static int (*REAL(openat))(int, const char *, int, ...);
static int (*REAL(close))(int);
static ssize_t (*REAL(read))(int, void *, size_t);
static ssize_t (*REAL(pread64))(int, void *, size_t, off64_t);
static ssize_t (*REAL(readv))(int, const struct iovec *, int);
static ssize_t (*REAL(preadv64))(int, const struct iovec *, int, off64_t);
static ssize_t (*REAL(write))(int, const void *, size_t);
static ssize_t (*REAL(pwrite64))(int, const void *, size_t, off64_t);
static ssize_t (*REAL(writev))(int, const struct iovec *, int);
static ssize_t (*REAL(pwritev64))(int, const struct iovec *, int, off64_t);
static int (*REAL(ftruncate64))(int, off64_t);
static int (*REAL(fsync))(int);
static int (*REAL(fdatasync))(int);
static int (*REAL(rename))(const char *, const char *);
static int (*REAL(unlink))(const char *);
static int (*REAL(mkdir))(const char *, mode_t);

static const char *folder;
static size_t folder_length;
static struct control *control;
static volatile unsigned char watched[FDS];

/* Other libraries may open before our constructor runs. */
static void load(void) {
  if (REAL(mkdir) != NULL) return;
  LOAD(open); LOAD(openat); LOAD(close); LOAD(read); LOAD(pread64); LOAD(readv); LOAD(preadv64);
  LOAD(write); LOAD(pwrite64); LOAD(writev); LOAD(pwritev64); LOAD(ftruncate64); LOAD(fsync);
  LOAD(fdatasync); LOAD(rename); LOAD(unlink); LOAD(mkdir);
}

__attribute__((constructor)) static void start(void) {
  load();
  const char *path = getenv("FAIL_CONTROL");
  folder = getenv("FAIL_FOLDER");
  if (path == NULL || folder == NULL) return;
  folder = strdup(folder);
  folder_length = strlen(folder);
  int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
  void *mapped =
      mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (fd < 0 || mapped == MAP_FAILED) abort();
  control = mapped;
  /* The runner is another process with files of its own; it gets the system as it is. */
  unsetenv("LD_PRELOAD");
}

static int is_inside(const char *path) {
  return control != NULL && strncmp(path, folder, folder_length) == 0 &&
         (path[folder_length] == '/' || path[folder_length] == 0);
}

static int is_watched(int fd) { return fd >= 0 && fd < FDS && watched[fd] != 0; }

/* Does this call fail? Then errno says why. */
static int fails(enum kind kind, const char *path, int fd) {
  __atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&control->kind, __ATOMIC_SEQ_CST) != (int32_t)kind) return 0;
  if (__atomic_load_n(&control->left, __ATOMIC_SEQ_CST) <= 0) return 0;
  char link[64], name[sizeof control->path];
  memset(name, 0, sizeof name);
  if (path == NULL) {
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, name, sizeof name - 1) < 0) return 0;
    path = name;
    /* Closed by a way that we do not see, and now something else. */
    if (!is_inside(path)) {
      watched[fd] = 0;
      return 0;
    }
  } else strncpy(name, path, sizeof name - 1);
  if (__atomic_sub_fetch(&control->left, 1, __ATOMIC_SEQ_CST) != 0) return 0;
  memcpy(control->path, name, sizeof name);
  __atomic_add_fetch(&control->fired, 1, __ATOMIC_SEQ_CST);
  errno = control->error;
  return 1;
}

static int note(const char *path, int fd) {
  if (fd >= 0 && fd < FDS) watched[fd] = is_inside(path) ? 1 : 0;
  return fd;
}

static mode_t mode_from(va_list rest, int flags) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
  load();
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_from(rest, flags);
  va_end(rest);
  if (is_inside(path) && fails(OPEN, path, -1)) return -1;
  return note(path, REAL(open)(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
  load();
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_from(rest, flags);
  va_end(rest);
  if (is_inside(path) && fails(OPEN, path, -1)) return -1;
  return note(path, REAL(open)(path, flags | O_LARGEFILE, mode));
}

int openat(int at, const char *path, int flags, ...) {
  load();
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_from(rest, flags);
  va_end(rest);
  if (is_inside(path) && fails(OPEN, path, -1)) return -1;
  return note(path, REAL(openat)(at, path, flags, mode));
}

int close(int fd) {
  load();
  if (is_watched(fd)) watched[fd] = 0;
  return REAL(close)(fd);
}

ssize_t read(int fd, void *bytes, size_t length) {
  load();
  return is_watched(fd) && fails(READ, NULL, fd) ? -1 : REAL(read)(fd, bytes, length);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t at) {
  load();
  return is_watched(fd) && fails(READ, NULL, fd) ? -1 : REAL(pread64)(fd, bytes, length, at);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t at) {
  return pread64(fd, bytes, length, at);
}

ssize_t readv(int fd, const struct iovec *parts, int count) {
  load();
  return is_watched(fd) && fails(READ, NULL, fd) ? -1 : REAL(readv)(fd, parts, count);
}

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t at) {
  load();
  return is_watched(fd) && fails(READ, NULL, fd) ? -1 : REAL(preadv64)(fd, parts, count, at);
}

ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) {
  return preadv64(fd, parts, count, at);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  load();
  return is_watched(fd) && fails(WRITE, NULL, fd) ? -1 : REAL(write)(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
  load();
  return is_watched(fd) && fails(WRITE, NULL, fd) ? -1 : REAL(pwrite64)(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
  return pwrite64(fd, bytes, length, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  load();
  return is_watched(fd) && fails(WRITE, NULL, fd) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  load();
  return is_watched(fd) && fails(WRITE, NULL, fd) ? -1 : REAL(pwritev64)(fd, parts, count, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  return pwritev64(fd, parts, count, at);
}

int ftruncate64(int fd, off64_t size) {
  load();
  return is_watched(fd) && fails(TRUNCATE, NULL, fd) ? -1 : REAL(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) {
  load();
  return is_watched(fd) && fails(FSYNC, NULL, fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
  load();
  return is_watched(fd) && fails(FDATASYNC, NULL, fd) ? -1 : REAL(fdatasync)(fd);
}

int rename(const char *from, const char *to) {
  load();
  return is_inside(from) && fails(RENAME, from, -1) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path) {
  load();
  return is_inside(path) && fails(UNLINK, path, -1) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
  load();
  return is_inside(path) && fails(MKDIR, path, -1) ? -1 : REAL(mkdir)(path, mode);
}
