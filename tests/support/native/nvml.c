/* A stand-in for libnvidia-ml.so.1 with two H200-like GPUs, so that the real pynvml can be asked on a machine without
 * a driver. What it answers in place of success is set when it is compiled: -DINIT=9 is a driver that is not loaded. */
#include <stdio.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef SECOND_HANDLE /* what asking for the second GPU gives: 15 is a GPU that is lost */
#define SECOND_HANDLE 0
#endif
#ifndef SECOND_SERIAL
#define SECOND_SERIAL 3 /* not supported, as consumer cards answer */
#endif
#ifndef SECOND_MEMORY
#define SECOND_MEMORY 0
#endif
#ifndef MIG /* 0: this card can be split, and is if SPLIT; 3: it cannot */
#define MIG 0
#endif
#ifndef SPLIT
#define SPLIT 0
#endif

typedef struct { int index; } device;
typedef struct { unsigned long long total, free, used; } memory;

static device devices[2] = {{0}, {1}};

int nvmlInitWithFlags(unsigned flags) { (void)flags; return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int result) { (void)result; return "stand-in error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.82.07"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 13010; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    *out = &devices[index];
    return index == 1 ? SECOND_HANDLE : 0;
}

int nvmlDeviceGetName(device *d, char *text, unsigned size) { (void)d; snprintf(text, size, "NVIDIA H200"); return 0; }

int nvmlDeviceGetUUID(device *d, char *text, unsigned size) {
    snprintf(text, size, "GPU-stand-in-%d", d->index);
    return 0;
}

int nvmlDeviceGetSerial(device *d, char *text, unsigned size) {
    snprintf(text, size, "165%010d", d->index);
    return d->index == 1 ? SECOND_SERIAL : 0;
}

int nvmlDeviceGetVbiosVersion(device *d, char *text, unsigned size) {
    (void)d;
    snprintf(text, size, "96.00.AD.00.01");
    return 0;
}

int nvmlDeviceGetMemoryInfo(device *d, memory *out) {
    out->total = 150754820096ULL;
    out->used = 600000000ULL * (d->index + 1);
    out->free = out->total - out->used;
    return d->index == 1 ? SECOND_MEMORY : 0;
}

int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) {
    (void)d;
    *major = 9;
    *minor = 0;
    return 0;
}

int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    (void)d;
    *current = *pending = SPLIT;
    return MIG;
}
