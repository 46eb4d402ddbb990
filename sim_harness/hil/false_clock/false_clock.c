/* A time of day that is off by as much as a file says, for the one process that this is loaded into
 * (LD_PRELOAD). The monotonic clock, sleeping and waiting stay what they are. The file holds one
 * little-endian int64 of nanoseconds; it is mapped, so a change is seen at the next look. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

typedef int (*clock_gettime_fn)(clockid_t, struct timespec *);

static const volatile int64_t *offset_ns;
static clock_gettime_fn true_clock_gettime;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("FALSE_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        void *mapped = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, file, 0);
        if (mapped != MAP_FAILED)
            offset_ns = mapped;
        close(file);
    }
    *(void **)&true_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = true_clock_gettime ? true_clock_gettime(clock, now)
                                    : (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || !offset_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return failed;
    int64_t at_ns = now->tv_sec * SECOND_NS + now->tv_nsec + *offset_ns;
    now->tv_sec = at_ns / SECOND_NS;
    now->tv_nsec = at_ns % SECOND_NS;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec fine;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &fine))
        return -1;
    now->tv_sec = fine.tv_sec;
    now->tv_usec = fine.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec fine;
    if (clock_gettime(CLOCK_REALTIME, &fine))
        return -1;
    if (now)
        *now = fine.tv_sec;
    return fine.tv_sec;
}
