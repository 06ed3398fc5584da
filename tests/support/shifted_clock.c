/* Shifts the wall clock of a process, for tests: loaded with LD_PRELOAD, it adds to CLOCK_REALTIME the seconds in the
   file SHIFTED_CLOCK, which the test changes while the process runs.

   The kernel's waits until a time of the wall clock are shifted too, as a real change of the clock would: waits with a
   deadline that was computed before the shift end later or earlier. The monotonic clock is not changed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 50000000LL
#define SECOND_NS 1000000000LL

static volatile int64_t none = 0;
static volatile int64_t *shift_s = &none;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_sem_timedwait)(sem_t *, const struct timespec *);
static int (*real_sem_clockwait)(sem_t *, clockid_t, const struct timespec *);
static int (*real_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_cond_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
static long (*real_syscall)(long, ...);

static void *next(const char *name, const char *version) {
    void *symbol = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
    return symbol ? symbol : dlsym(RTLD_NEXT, name);
}

static void resolve(void) {
    if (real_syscall) return;
    real_clock_gettime = next("clock_gettime", NULL);
    real_sem_timedwait = next("sem_timedwait", NULL);
    real_sem_clockwait = next("sem_clockwait", NULL);
    real_cond_timedwait = next("pthread_cond_timedwait", "GLIBC_2.3.2");
    real_cond_clockwait = next("pthread_cond_clockwait", NULL);
    real_syscall = next("syscall", NULL);
}

__attribute__((constructor)) static void begin(void) {
    resolve();
    const char *path = getenv("SHIFTED_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) shift_s = page;
}

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static int64_t wall_ns(void) {
    struct timespec now;
    resolve();
    real_clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec + *shift_s) * SECOND_NS + now.tv_nsec;
}

static int64_t ns(const struct timespec *at) { return (int64_t)at->tv_sec * SECOND_NS + at->tv_nsec; }

/* The unshifted time of a deadline of the shifted clock. */
static struct timespec unshifted(const struct timespec *at, int64_t limit_ns) {
    int64_t left = ns(at) - wall_ns();
    if (left > limit_ns) left = limit_ns;
    struct timespec now;
    real_clock_gettime(CLOCK_REALTIME, &now);
    int64_t end = ns(&now) + (left > 0 ? left : 0);
    return (struct timespec){end / SECOND_NS, end % SECOND_NS};
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    resolve();
    int result = real_clock_gettime(clock, now);
    if (result == 0 && is_wall(clock)) now->tv_sec += *shift_s;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    int64_t at = wall_ns();
    now->tv_sec = at / SECOND_NS;
    now->tv_usec = at % SECOND_NS / 1000;
    return 0;
}

time_t time(time_t *result) {
    time_t now = wall_ns() / SECOND_NS;
    if (result) *result = now;
    return now;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *at) {
    for (;;) {
        int due = ns(at) <= wall_ns();
        struct timespec end = unshifted(at, SLICE_NS);
        int result = real_sem_timedwait(semaphore, &end);
        if (result == 0 || errno != ETIMEDOUT || due) return result;
    }
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *at) {
    resolve();
    return is_wall(clock) ? sem_timedwait(semaphore, at) : real_sem_clockwait(semaphore, clock, at);
}

/* Not in slices: a signal between two slices would be lost. So a shift forward does not end this wait early. */
static int cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *at) {
    for (;;) {
        struct timespec end = unshifted(at, INT64_MAX);
        int result = real_cond_timedwait(cond, mutex, &end);
        if (result != ETIMEDOUT || ns(at) <= wall_ns()) return result;
    }
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict at) {
    resolve();
    /* glibc keeps the clock of a condition variable in the second bit */
    if (cond->__data.__wrefs & 2) return real_cond_timedwait(cond, mutex, at);
    return cond_wait(cond, mutex, at);
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *at) {
    resolve();
    return is_wall(clock) ? cond_wait(cond, mutex, at) : real_cond_clockwait(cond, mutex, clock, at);
}

long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    resolve();
    if (number == SYS_clock_gettime) return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    if (number == SYS_futex && a[3] && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && (a[1] & FUTEX_CLOCK_REALTIME)) {
        const struct timespec *at = (const struct timespec *)a[3];
        for (;;) {
            int due = ns(at) <= wall_ns();
            struct timespec end = unshifted(at, SLICE_NS);
            long result = real_syscall(number, a[0], a[1], a[2], &end, a[4], a[5]);
            if (result == 0 || errno != ETIMEDOUT || due) return result;
        }
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
