// A wall clock that is never right: each reading is a century from the one before. The clock that only goes on is left alone.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static unsigned readings;

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) {
        unsigned odd = __atomic_fetch_add(&readings, 1, __ATOMIC_RELAXED) % 2;
        now->tv_sec = odd ? 4070908800 : 915148800; // 2099 and 1999, on 1 January
    }
    return failed;
}
