/* A stand-in for libnvidia-ml.so.1 with two H200-like GPUs (-DGPUS=8: eight), so that the real pynvml can be asked on a machine without
 * a driver. What it answers in place of success is set when it is compiled: -DINIT=9 is a driver that is not loaded. */
#include <stdio.h>

#ifndef INIT
#define INIT 0
#endif
#ifndef GPUS
#define GPUS 2
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
#ifndef FIRST_MEMORY /* 3: the GPU uses the machine's memory, and NVML has no figure */
#define FIRST_MEMORY 0
#endif
#ifndef SECOND_NAME /* 15: it answers its handle, and then nothing */
#define SECOND_NAME 0
#endif
#ifndef INSTANCES /* of each split GPU, from its second place on: the first is free */
#define INSTANCES 0
#endif
#ifndef INSTANCE_HANDLE /* 4: one may not look at instances */
#define INSTANCE_HANDLE 0
#endif
#ifndef CUDA
#define CUDA 13010
#endif

typedef struct { int index, instance; } device;
typedef struct { unsigned long long total, free, used; } memory;

static device devices[GPUS];
static device instances[GPUS][8];

int nvmlInitWithFlags(unsigned flags) { (void)flags; return INIT; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int result) { (void)result; return "stand-in error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.82.07"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = CUDA; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    *out = &devices[index];
    **out = (device){(int)index, 0};
    return index == 1 ? SECOND_HANDLE : 0;
}

int nvmlDeviceGetName(device *d, char *text, unsigned size) {
    snprintf(text, size, d->instance ? "NVIDIA H200 MIG 1g.18gb" : "NVIDIA H200");
    return d->index == 1 ? SECOND_NAME : 0;
}

int nvmlDeviceGetUUID(device *d, char *text, unsigned size) {
    if (d->instance)
        snprintf(text, size, "MIG-stand-in-%d-%d", d->index, d->instance);
    else
        snprintf(text, size, "GPU-stand-in-%d", d->index);
    return 0;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { (void)d; *count = 7; return 0; }

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **out) {
    if (index < 1 || index > INSTANCES)
        return 6; /* not found */
    *out = &instances[d->index][index];
    **out = (device){d->index, (int)index};
    return INSTANCE_HANDLE;
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
    if (d->index == 0 && FIRST_MEMORY)
        return FIRST_MEMORY;
    out->total = d->instance ? 18ULL * 1000000000ULL : 150754820096ULL;
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
