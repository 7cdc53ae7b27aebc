/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Owns: what the generators measure with: the clock, latencies, the processor time of processes.
 * Thread: one.
 * Frees: nothing.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_PIDS_MAX 8

#define BENCH_SECOND INT64_C(1000000000)

int64_t bench_now(void); /* nanoseconds, monotonic */

/* Ends the program with a sentence and errno's. */
_Noreturn void bench_die(const char *what);

/* Latencies in buckets that are 1/32 of their value wide. */
struct bench_histogram {
    uint64_t count;
    int64_t max;
    uint32_t buckets[64 * 32];
};

void bench_note(struct bench_histogram *histogram, int64_t ns);
/* The value that `share` (0..1) of all don't pass, in ns. */
int64_t bench_quantile(const struct bench_histogram *histogram, double share);

/* Processor time of processes, all their threads. */
struct bench_cpu {
    int pids[BENCH_PIDS_MAX];
    int64_t start[BENCH_PIDS_MAX]; /* ns */
    int64_t used[BENCH_PIDS_MAX];
    int count;
};

void bench_cpu_add(struct bench_cpu *cpu, int pid);
void bench_cpu_start(struct bench_cpu *cpu);
void bench_cpu_stop(struct bench_cpu *cpu);
/* `, "cpu": […]`, in seconds. */
void bench_cpu_print(const struct bench_cpu *cpu, FILE *out);

#endif
