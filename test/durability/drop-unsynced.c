/*
 * A disk that loses power, for one process: preloaded (LD_PRELOAD), it keeps a journal of how to undo every change
 * under a folder that was not flushed yet. After a kill -9 the test undoes what the journal holds (roll-back.ts), and the
 * folder is as harsh a power loss would have left it: nothing that was not flushed is there.
 *
 *   DROP_FOLDER   the absolute path whose files are watched
 *   DROP_JOURNAL  the journal, outside of that folder on the same file system; backups lie beside it
 *   DROP_LIE      1: fsync and fdatasync say that they did it, and the bytes are as lost as if they had not
 *
 * The model is POSIX at its strictest. Bytes and sizes of a file last once the file was flushed. A name that was
 * made, changed or removed lasts once its folder was flushed; the target's folder, for a rename. A flush covers what
 * was called before it began. The shared memory of SQLite (-shm) is not durable by design and not watched.
 *
 * Each record is written before the change that it undoes, so a kill in between undoes nothing that was.
 * Only calls that Node and SQLite make are here; whatever else would write past them shows as `X` in the journal.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 65536
#define REAL(name) real_##name
#define LOAD(name) REAL(name) = dlsym(RTLD_NEXT, #name)

static int (*REAL(open))(const char *, int, ...);
static int (*REAL(openat))(int, const char *, int, ...);
static int (*REAL(close))(int);
static ssize_t (*REAL(write))(int, const void *, size_t);
static ssize_t (*REAL(pwrite64))(int, const void *, size_t, off64_t);
static ssize_t (*REAL(writev))(int, const struct iovec *, int);
static ssize_t (*REAL(pwritev64))(int, const struct iovec *, int, off64_t);
static int (*REAL(ftruncate64))(int, off64_t);
static int (*REAL(fsync))(int);
static int (*REAL(fdatasync))(int);
static int (*REAL(rename))(const char *, const char *);
static int (*REAL(link))(const char *, const char *);
static int (*REAL(unlink))(const char *);
static int (*REAL(mkdir))(const char *, mode_t);
static void *(*REAL(mmap64))(void *, size_t, int, int, int, off64_t);

static char folder[PATH_MAX];
static char backups[PATH_MAX - 64];
static size_t folder_length;
static int journal = -1;
static int lies;
static uint64_t backup_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* 0: not watched. Otherwise the inode behind the descriptor: a file's or a folder's. */
static volatile uint64_t watched[FDS];

/* Other libraries may open and map before our constructor runs. */
static void load(void) {
  if (REAL(mmap64) != NULL) return;
  LOAD(open); LOAD(openat); LOAD(close); LOAD(write); LOAD(pwrite64); LOAD(writev);
  LOAD(pwritev64); LOAD(ftruncate64); LOAD(fsync); LOAD(fdatasync); LOAD(rename); LOAD(link);
  LOAD(unlink); LOAD(mkdir); LOAD(mmap64);
}

__attribute__((constructor)) static void start(void) {
  load();
  const char *root = getenv("DROP_FOLDER");
  const char *path = getenv("DROP_JOURNAL");
  const char *lie = getenv("DROP_LIE");
  if (root == NULL || path == NULL) return;
  folder_length = (size_t)snprintf(folder, sizeof folder, "%s", root);
  snprintf(backups, sizeof backups, "%s.backup", path);
  lies = lie != NULL && lie[0] == '1';
  journal = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) abort();
  /* The runner writes nothing that is promised; it gets the system as it is. */
  unsetenv("LD_PRELOAD");
}

/* A record: one letter, two numbers, a length, as many bytes. Little-endian, as the machine is. */
static void note(char kind, uint64_t a, uint64_t b, const void *bytes, uint32_t length) {
  char head[21];
  head[0] = kind;
  memcpy(head + 1, &a, 8);
  memcpy(head + 9, &b, 8);
  memcpy(head + 17, &length, 4);
  struct iovec parts[2] = {{head, sizeof head}, {(void *)bytes, length}};
  /* One call, so that a kill leaves a record whole or cut at the journal's very end. */
  if (REAL(writev)(journal, parts, 2) != (ssize_t)(sizeof head + length)) abort();
}

static int is_inside(const char *path) {
  return journal >= 0 && strncmp(path, folder, folder_length) == 0 &&
         (path[folder_length] == '/' || path[folder_length] == 0);
}

static int is_watched_path(const char *path) {
  size_t length = strlen(path);
  if (length > 4 && strcmp(path + length - 4, "-shm") == 0) return 0;
  return is_inside(path);
}

static uint64_t inode_of(const char *path) {
  struct stat64 info;
  return lstat64(path, &info) == 0 ? info.st_ino : 0;
}

/* The folder that holds the name. */
static uint64_t parent_of(const char *path) {
  char parent[PATH_MAX];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  if (slash == NULL) return 0;
  *slash = 0;
  return inode_of(parent);
}

/* A second name outside of the folder for what is about to lose one; its path, or an empty string. */
static void back_up(const char *path, char *copy) {
  copy[0] = 0;
  if (inode_of(path) == 0) return;
  snprintf(copy, PATH_MAX, "%s-%d-%llu", backups, getpid(), (unsigned long long)backup_count++);
  if (REAL(link)(path, copy) != 0) copy[0] = 0;
}

/* Two paths, one after the other, each ended by a zero. */
static void note_names(char kind, uint64_t a, uint64_t b, const char *one, const char *two) {
  char names[2 * PATH_MAX + 2];
  size_t first = strlen(one) + 1, second = strlen(two) + 1;
  memcpy(names, one, first);
  memcpy(names + first, two, second);
  note(kind, a, b, names, (uint32_t)(first + second));
}

/* `W`: to undo, give the file its old size and, at the offset, its old bytes. */
static void note_range(int fd, uint64_t offset, uint64_t length) {
  struct stat64 info;
  if (fstat64(fd, &info) != 0) abort();
  uint64_t size = (uint64_t)info.st_size;
  uint64_t end = offset + length < size ? offset + length : size;
  uint64_t old = end > offset ? end - offset : 0;
  char *bytes = malloc(16 + old);
  memcpy(bytes, &size, 8);
  if (old > 0) {
    int reader = fd;
    /* A second descriptor only where this one cannot read: closing one would let go of SQLite's locks. */
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
      char name[64];
      snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
      reader = REAL(open)(name, O_RDONLY | O_CLOEXEC);
    }
    uint64_t done = 0;
    while (done < old) {
      ssize_t got = pread64(reader, bytes + 8 + done, old - done, (off64_t)(offset + done));
      if (got <= 0) abort();
      done += (uint64_t)got;
    }
    if (reader != fd) REAL(close)(reader);
  }
  note('W', info.st_ino, offset, bytes, (uint32_t)(8 + old));
  free(bytes);
}

static int is_watched(int fd) { return fd >= 0 && fd < FDS && watched[fd] != 0; }

static uint64_t place_of(int fd) {
  struct stat64 info;
  if ((fcntl(fd, F_GETFL) & O_APPEND) == 0) return (uint64_t)lseek64(fd, 0, SEEK_CUR);
  return fstat64(fd, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static uint64_t total(const struct iovec *parts, int count) {
  uint64_t sum = 0;
  for (int i = 0; i < count; i++) sum += parts[i].iov_len;
  return sum;
}

/* Under the lock: an existing file that is cut, or a name that is made, is written down first. */
static int watch_open(const char *path, int flags, mode_t mode) {
  pthread_mutex_lock(&lock);
  int was_there = inode_of(path) != 0;
  if (was_there && (flags & O_TRUNC) != 0) {
    int reader = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    struct stat64 info;
    if (reader >= 0 && fstat64(reader, &info) == 0) {
      note_range(reader, 0, (uint64_t)info.st_size);
      REAL(close)(reader);
    }
  }
  if (!was_there && (flags & O_CREAT) != 0) note_names('C', parent_of(path), 0, path, "");
  int fd = REAL(open)(path, flags, mode);
  int saved = errno;
  struct stat64 info;
  if (fd >= 0 && fd < FDS && fstat64(fd, &info) == 0 &&
      (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)))
    watched[fd] = info.st_ino;
  pthread_mutex_unlock(&lock);
  errno = saved;
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
  if (!is_watched_path(path)) return REAL(open)(path, flags, mode);
  return watch_open(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  load();
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_from(rest, flags);
  va_end(rest);
  if (!is_watched_path(path)) return REAL(open)(path, flags | O_LARGEFILE, mode);
  return watch_open(path, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *path, int flags, ...) {
  load();
  va_list rest;
  va_start(rest, flags);
  mode_t mode = mode_from(rest, flags);
  va_end(rest);
  if (path[0] != '/' || !is_watched_path(path)) return REAL(openat)(at, path, flags, mode);
  return watch_open(path, flags, mode);
}

int close(int fd) {
  load();
  if (is_watched(fd)) watched[fd] = 0;
  return REAL(close)(fd);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  load();
  if (!is_watched(fd)) return REAL(write)(fd, bytes, length);
  pthread_mutex_lock(&lock);
  note_range(fd, place_of(fd), length);
  ssize_t result = REAL(write)(fd, bytes, length);
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  load();
  if (!is_watched(fd)) return REAL(pwrite64)(fd, bytes, length, offset);
  pthread_mutex_lock(&lock);
  note_range(fd, (uint64_t)offset, length);
  ssize_t result = REAL(pwrite64)(fd, bytes, length, offset);
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
  return pwrite64(fd, bytes, length, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  load();
  if (!is_watched(fd)) return REAL(writev)(fd, parts, count);
  pthread_mutex_lock(&lock);
  note_range(fd, place_of(fd), total(parts, count));
  ssize_t result = REAL(writev)(fd, parts, count);
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  load();
  if (!is_watched(fd)) return REAL(pwritev64)(fd, parts, count, offset);
  pthread_mutex_lock(&lock);
  note_range(fd, (uint64_t)offset, total(parts, count));
  ssize_t result = REAL(pwritev64)(fd, parts, count, offset);
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  return pwritev64(fd, parts, count, offset);
}

int ftruncate64(int fd, off64_t size) {
  load();
  if (!is_watched(fd)) return REAL(ftruncate64)(fd, size);
  pthread_mutex_lock(&lock);
  struct stat64 info;
  if (fstat64(fd, &info) != 0) abort();
  uint64_t old = (uint64_t)info.st_size, cut = (uint64_t)size;
  note_range(fd, cut < old ? cut : old, cut < old ? old - cut : 0);
  int result = REAL(ftruncate64)(fd, size);
  pthread_mutex_unlock(&lock);
  return result;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* `S`: what was written down before the flush began lasts, for this inode, once the flush succeeded. */
static int flush(int fd, int (*real)(int)) {
  if (!is_watched(fd)) return real(fd);
  if (lies) return 0;
  uint64_t inode = watched[fd];
  pthread_mutex_lock(&lock);
  off64_t began = lseek64(journal, 0, SEEK_END);
  pthread_mutex_unlock(&lock);
  int result = real(fd);
  if (result != 0) return result;
  pthread_mutex_lock(&lock);
  note('S', inode, (uint64_t)began, "", 0);
  pthread_mutex_unlock(&lock);
  return 0;
}

int fsync(int fd) {
  load();
  return flush(fd, REAL(fsync));
}

int fdatasync(int fd) {
  load();
  return flush(fd, REAL(fdatasync));
}

/* `R`: three names; the third is where what was at the target is kept. */
int rename(const char *from, const char *to) {
  load();
  if (!is_watched_path(from) && !is_watched_path(to)) return REAL(rename)(from, to);
  pthread_mutex_lock(&lock);
  char copy[PATH_MAX], names[3 * PATH_MAX];
  back_up(to, copy);
  int length = snprintf(names, sizeof names, "%s%c%s%c%s%c", from, 0, to, 0, copy, 0);
  note('R', parent_of(to), inode_of(from), names, (uint32_t)length);
  int result = REAL(rename)(from, to);
  int saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

int link(const char *from, const char *to) {
  load();
  if (!is_watched_path(to)) return REAL(link)(from, to);
  pthread_mutex_lock(&lock);
  if (inode_of(to) == 0) note_names('C', parent_of(to), 0, to, "");
  int result = REAL(link)(from, to);
  int saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

int unlink(const char *path) {
  load();
  if (!is_watched_path(path)) return REAL(unlink)(path);
  pthread_mutex_lock(&lock);
  char copy[PATH_MAX];
  back_up(path, copy);
  if (copy[0] != 0) note_names('U', parent_of(path), 0, path, copy);
  int result = REAL(unlink)(path);
  int saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

int mkdir(const char *path, mode_t mode) {
  load();
  if (!is_watched_path(path) || strlen(path) <= folder_length) return REAL(mkdir)(path, mode);
  pthread_mutex_lock(&lock);
  if (inode_of(path) == 0) note_names('C', parent_of(path), 0, path, "");
  int result = REAL(mkdir)(path, mode);
  int saved = errno;
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset) {
  load();
  if (is_watched(fd) && (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0) {
    pthread_mutex_lock(&lock);
    note('X', watched[fd], 0, "mmap", 4);
    pthread_mutex_unlock(&lock);
  }
  return REAL(mmap64)(at, length, protection, flags, fd, offset);
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
  return mmap64(at, length, protection, flags, fd, offset);
}
