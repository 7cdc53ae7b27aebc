/* SPDX-License-Identifier: BSD-3-Clause */
#include "measure.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SUB_BITS 5

int64_t bench_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * BENCH_SECOND + now.tv_nsec;
}

void bench_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static unsigned bucket_of(uint64_t ns)
{
    if (ns < (1U << SUB_BITS)) {
        return (unsigned)ns;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return ((shift + 1) << SUB_BITS) + (unsigned)((ns >> shift) & ((1U << SUB_BITS) - 1));
}

static int64_t top_of(unsigned bucket)
{
    if (bucket < (1U << SUB_BITS)) {
        return bucket;
    }
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t base = (1U << SUB_BITS) + (bucket & ((1U << SUB_BITS) - 1));
    return (int64_t)(((base + 1) << shift) - 1);
}

void bench_note(struct bench_histogram *histogram, int64_t ns)
{
    histogram->count++;
    histogram->max = ns > histogram->max ? ns : histogram->max;
    histogram->buckets[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
}

int64_t bench_quantile(const struct bench_histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned i = 0; i < sizeof histogram->buckets / sizeof histogram->buckets[0]; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            int64_t top = top_of(i);
            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}

/* schedstat's first number: nanoseconds on a processor. /proc/PID/schedstat is one thread's. */
static int64_t thread_cpu(int pid, const char *thread)
{
    char path[64];
    int64_t ns = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", pid, thread);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fscanf(file, "%" SCNd64, &ns) != 1) {
            ns = 0;
        }
        (void)fclose(file);
    }
    return ns;
}

static int64_t process_cpu(int pid)
{
    char path[64];
    int64_t sum = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (threads == NULL) {
        bench_die(path);
    }
    for (const struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        if (entry->d_name[0] != '.') {
            sum += thread_cpu(pid, entry->d_name);
        }
    }
    (void)closedir(threads);
    return sum;
}

void bench_cpu_add(struct bench_cpu *cpu, int pid)
{
    if (cpu->count < BENCH_PIDS_MAX) {
        cpu->pids[cpu->count++] = pid;
    }
}

void bench_cpu_start(struct bench_cpu *cpu)
{
    for (int i = 0; i < cpu->count; i++) {
        cpu->start[i] = process_cpu(cpu->pids[i]);
    }
}

void bench_cpu_stop(struct bench_cpu *cpu)
{
    for (int i = 0; i < cpu->count; i++) {
        cpu->used[i] = process_cpu(cpu->pids[i]) - cpu->start[i];
    }
}

void bench_cpu_print(const struct bench_cpu *cpu, FILE *out)
{
    fprintf(out, ", \"cpu\": [");
    for (int i = 0; i < cpu->count; i++) {
        fprintf(out, "%s%.6f", i > 0 ? ", " : "", (double)cpu->used[i] / 1e9);
    }
    fprintf(out, "]");
}
