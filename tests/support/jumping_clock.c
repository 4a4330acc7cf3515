/* Put before a process with LD_PRELOAD: the wall clock is off by the seconds in the file JUMPING_CLOCK. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (failed || clock != CLOCK_REALTIME)
        return failed;
    const char *name = getenv("JUMPING_CLOCK");
    FILE *file = name ? fopen(name, "r") : NULL;
    long off = 0;
    if (file) {
        if (fscanf(file, "%ld", &off) != 1)
            off = 0;
        fclose(file);
    }
    now->tv_sec += off;
    return 0;
}
