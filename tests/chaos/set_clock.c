/* A wall clock that can be set: preloaded into the processes under test, whose other clocks stay as they are.
 *
 * CHAOS_CLOCK names a file of two 64-bit numbers: nanoseconds by which the clock is ahead, and, if it is not
 * 0, the time since the epoch at which it stands still. libfaketime is not used: its 0.9.10 fails clock_nanosleep(2) of
 * CLOCK_MONOTONIC with EINVAL, which is Python's time.sleep, and shares a semaphore that kill -9 leaves locked.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BILLION 1000000000LL

static volatile int64_t *setting;
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("CHAOS_CLOCK");
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        setting = mapped;
}

int clock_gettime(clockid_t which, struct timespec *when)
{
    if (!real_clock_gettime)
        find();
    int result = real_clock_gettime(which, when);
    if (result || !setting || (which != CLOCK_REALTIME && which != CLOCK_REALTIME_COARSE))
        return result;
    int64_t now = setting[1] ? setting[1] : when->tv_sec * BILLION + when->tv_nsec + setting[0];
    when->tv_sec = now / BILLION;
    when->tv_nsec = now % BILLION;
    return 0;
}

int gettimeofday(struct timeval *restrict when, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    when->tv_sec = now.tv_sec;
    when->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *when)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (when)
        *when = now.tv_sec;
    return now.tv_sec;
}
