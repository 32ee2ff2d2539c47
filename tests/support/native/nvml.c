/* A stand-in for libnvidia-ml.so.1, so that the real pynvml can be asked on a machine without a driver.
 *
 * What it answers is a text file, `scenario`, in the folder of the library. The file is read again whenever it has
 * changed, so a test may rewrite it while a run goes on. A line is
 *
 *     KEY [CONDITION] = VALUE
 *
 * KEY      may have * in it; of the lines that fit and whose condition holds, the last counts.
 * CONDITION (may be left out) is one of
 *     calls>=N        from the Nth time on that this process asks for the key
 *     seconds>=S      from S seconds on after this process loaded the library
 *     exists=PATTERN  once there is a file of this pattern, in any process
 * VALUE    is a text, in which {gpu} is the number of the GPU, or a number (0x... too); NUMBER+STEP/call rises with each question of this process,
 *          NUMBER+STEP/second with time; !CODE is the NVML_ERROR_* that is returned in place of an answer.
 *
 * A key that no line gives is answered with NVML_ERROR_NOT_SUPPORTED. A function that a driver does not have at all is
 * left out by compiling with -DnvmlName=absent. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fnmatch.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define TIMEOUT 10
#define MOST_GPUS 64
#define MOST_INSTANCES 16
#define MOST_LINES 4096
#define MOST_KEYS 16384
#define MOST_EVENTS 32
#define TEXT 256

typedef struct { int index, instance; } device;
typedef struct { char key[TEXT], condition[TEXT], value[TEXT]; size_t head, tail; } line;
typedef struct { char key[TEXT]; unsigned long calls; } counted;
typedef struct { int told[MOST_EVENTS]; } event_set;

static device devices[MOST_GPUS];
static device instances[MOST_GPUS][MOST_INSTANCES];
static line lines[MOST_LINES];
static int line_count;
static counted counts[MOST_KEYS];
static struct stat seen;
static double began;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

__attribute__((constructor)) static void load(void) { began = now(); }

static char *trim(char *text) {
    while (*text == ' ' || *text == '\t')
        text++;
    for (char *end = text + strlen(text); end > text && strchr(" \t\r\n", end[-1]);)
        *--end = 0;
    return text;
}

static void copy(char *to, const char *from) { snprintf(to, TEXT, "%s", from); }

static void read_line(char *text) {
    char *equals, *open, *close, *left = trim(text);
    if (!*left || *left == '#' || line_count == MOST_LINES)
        return;
    open = strchr(left, '[');
    equals = strstr(left, " =");
    close = open && equals && open < equals ? strstr(open, "] =") : NULL;
    if (close)
        equals = close + 1;
    if (!equals) {
        fprintf(stderr, "scenario: no ` = ` in: %s\n", left);
        abort();
    }
    line *into = &lines[line_count++];
    *equals = 0;
    copy(into->value, trim(equals + 2));
    into->condition[0] = 0;
    if (close) {
        *close = *open = 0;
        copy(into->condition, trim(open + 1));
    }
    copy(into->key, trim(left));
    into->head = strcspn(into->key, "*?[");
    into->tail = strlen(into->key);
    while (into->tail > into->head && !strchr("*?[]", into->key[into->tail - 1]))
        into->tail--;
}

/* Whether a key is a line's; most differ before its first wildcard or after its last. */
static int is_of(const line *one, const char *key, size_t size) {
    const char *tail = one->key + one->tail;
    size_t rest = strlen(tail);
    return !strncmp(one->key, key, one->head) && rest <= size && !strcmp(tail, key + size - rest) &&
           !fnmatch(one->key, key, 0);
}

/* The scenario as it is now. A file is replaced by a rename, so that none is read half written. */
static void refresh(void) {
    Dl_info self;
    char path[4096], text[1024], *slash;
    struct stat found;
    FILE *file;
    dladdr((void *)load, &self);
    snprintf(path, sizeof path, "%s", self.dli_fname);
    slash = strrchr(path, '/');
    snprintf(slash ? slash + 1 : path, 16, "scenario");
    if (stat(path, &found)) {
        fprintf(stderr, "no scenario beside the stand-in: %s\n", path);
        abort();
    }
    if (found.st_ino == seen.st_ino && found.st_size == seen.st_size && found.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        found.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    seen = found;
    line_count = 0;
    file = fopen(path, "r");
    while (file && fgets(text, sizeof text, file))
        read_line(text);
    if (file)
        fclose(file);
}

static unsigned long ask_again(const char *key) {
    unsigned long hash = 5381;
    for (const char *at = key; *at; at++)
        hash = hash * 33 + (unsigned char)*at;
    for (unsigned long place = hash % MOST_KEYS;; place = (place + 1) % MOST_KEYS) {
        if (!counts[place].key[0])
            copy(counts[place].key, key);
        if (!strcmp(counts[place].key, key))
            return ++counts[place].calls;
    }
}

static int holds(const char *condition, unsigned long calls) {
    glob_t found;
    int there;
    if (!*condition)
        return 1;
    if (!strncmp(condition, "calls>=", 7))
        return calls >= strtoul(condition + 7, NULL, 10);
    if (!strncmp(condition, "seconds>=", 9))
        return now() - began >= strtod(condition + 9, NULL);
    if (strncmp(condition, "exists=", 7)) {
        fprintf(stderr, "scenario: unknown condition: %s\n", condition);
        abort();
    }
    there = !glob(condition + 7, 0, NULL, &found) && found.gl_pathc > 0;
    globfree(&found);
    return there;
}

/* 0 with the text of a key, or an error. */
static int text_of(const char *key, char *out, unsigned size, unsigned long *calls) {
    const char *value = NULL;
    int result = NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    refresh();
    *calls = ask_again(key);
    for (int at = 0; at < line_count; at++)
        if (is_of(&lines[at], key, strlen(key)) && holds(lines[at].condition, *calls))
            value = lines[at].value;
    if (value && *value == '!')
        result = atoi(value + 1);
    else if (value) {
        snprintf(out, size, "%s", value);
        result = 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

static int number_of(const char *key, unsigned long long *out) {
    char text[TEXT], *rest;
    unsigned long calls;
    double step;
    int result = text_of(key, text, sizeof text, &calls);
    if (result)
        return result;
    *out = strtoull(text, &rest, 0);
    if (*rest == '+') {
        step = strtod(rest + 1, &rest);
        *out += (unsigned long long)(step * (strcmp(rest, "/second") ? (double)(calls - 1) : now() - began));
    }
    return 0;
}

/* A key of a device; what a GPU that is lost answers to everything comes first. */
static int at(device *d, const char *name, char *key) {
    unsigned long long code;
    snprintf(key, TEXT, "gpu.%d.lost", d->index);
    if (!number_of(key, &code) && code)
        return (int)code;
    if (d->instance)
        snprintf(key, TEXT, "gpu.%d.mig.%d.%s", d->index, d->instance, name);
    else
        snprintf(key, TEXT, "gpu.%d.%s", d->index, name);
    return 0;
}

/* A text of a device; {gpu} in it is the number of the GPU. */
static int text(device *d, const char *name, char *out, unsigned size) {
    char key[TEXT], found[TEXT], *place;
    unsigned long calls;
    int result = at(d, name, key);
    if (!result)
        result = text_of(key, found, sizeof found, &calls);
    if (result)
        return result;
    if ((place = strstr(found, "{gpu}")))
        snprintf(out, size, "%.*s%d%s", (int)(place - found), found, d->index, place + 5);
    else
        snprintf(out, size, "%s", found);
    return 0;
}

static int wide(device *d, const char *name, unsigned long long *out) {
    char key[TEXT];
    int result = at(d, name, key);
    return result ? result : number_of(key, out);
}

static int number(device *d, const char *name, unsigned *out) {
    unsigned long long value = 0;
    int result = wide(d, name, &value);
    if (!result)
        *out = (unsigned)value;
    return result;
}

static unsigned gpu_count(void) {
    unsigned long long count = 0;
    return number_of("count", &count) ? 0 : (unsigned)count;
}

int nvmlInitWithFlags(unsigned flags) {
    unsigned long long none = 0;
    int result = number_of("init", &none);
    (void)flags;
    return result == NOT_SUPPORTED ? 0 : result;
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int result) { (void)result; return "stand-in error"; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    unsigned long calls;
    return text_of("driver", out, size, &calls);
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    unsigned long long value = 0;
    int result = number_of("cuda", &value);
    *version = (int)value;
    return result;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    unsigned long long value = 0;
    int result = number_of("count", &value);
    *count = (unsigned)value;
    return result;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **out) {
    char key[TEXT];
    unsigned long long code = 0;
    int result;
    if (index >= gpu_count() || index >= MOST_GPUS)
        return NOT_FOUND;
    devices[index] = (device){(int)index, 0};
    *out = &devices[index];
    if ((result = at(*out, "handle", key)))
        return result;
    result = number_of(key, &code);
    return result == NOT_SUPPORTED ? 0 : result;
}

int nvmlDeviceGetIndex(device *d, unsigned *index) {
    *index = (unsigned)d->index;
    return 0;
}

int nvmlDeviceGetName(device *d, char *out, unsigned size) { return text(d, "name", out, size); }
int nvmlDeviceGetUUID(device *d, char *out, unsigned size) { return text(d, "uuid", out, size); }
int nvmlDeviceGetSerial(device *d, char *out, unsigned size) { return text(d, "serial", out, size); }
int nvmlDeviceGetVbiosVersion(device *d, char *out, unsigned size) { return text(d, "vbios", out, size); }

int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned index, device **out) {
    char key[TEXT], uuid[TEXT];
    unsigned long long code = 0;
    unsigned long calls;
    int result;
    if (index >= MOST_INSTANCES - 1)
        return NOT_FOUND;
    instances[d->index][index] = (device){d->index, (int)index + 1};
    *out = &instances[d->index][index];
    if ((result = at(*out, "uuid", key)))
        return result;
    if (text_of(key, uuid, sizeof uuid, &calls))
        return NOT_FOUND;
    at(*out, "handle", key);
    result = number_of(key, &code);
    return result == NOT_SUPPORTED ? 0 : result;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, device **out) {
    char found[TEXT];
    for (unsigned index = 0; index < gpu_count() && index < MOST_GPUS; index++) {
        devices[index] = (device){(int)index, 0};
        if (!text(&devices[index], "uuid", found, sizeof found) && !strcmp(found, uuid)) {
            *out = &devices[index];
            return 0;
        }
        for (unsigned part = 0; part < MOST_INSTANCES - 1; part++)
            if (!nvmlDeviceGetMigDeviceHandleByIndex(&devices[index], part, out) &&
                !text(*out, "uuid", found, sizeof found) && !strcmp(found, uuid))
                return 0;
    }
    return NOT_FOUND;
}

int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *count) { return number(d, "mig.most", count); }

int nvmlDeviceGetMigMode(device *d, unsigned *current, unsigned *pending) {
    int result = number(d, "mig", current);
    *pending = *current;
    return result;
}

typedef struct { unsigned long long total, free, used; } memory;

int nvmlDeviceGetMemoryInfo(device *d, memory *out) {
    int result = wide(d, "memory.total", &out->total);
    if (!result)
        result = wide(d, "memory.used", &out->used);
    if (!result)
        out->free = out->total - out->used;
    return result;
}

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } process;

/* `pid:bytes pid:bytes`; `-` for bytes that the driver does not tell, `self` for the process that asks. */
static int processes(device *d, const char *name, unsigned *count, process *out) {
    char list[TEXT], *rest = NULL;
    unsigned found = 0, room = *count;
    int result = text(d, name, list, sizeof list);
    if (result)
        return result;
    for (char *entry = strtok_r(list, " ", &rest); entry; entry = strtok_r(NULL, " ", &rest), found++) {
        char *colon = strchr(entry, ':');
        if (!out || found >= room)
            continue;
        out[found].pid = !strncmp(entry, "self", 4) ? (unsigned)getpid() : (unsigned)strtoul(entry, NULL, 10);
        out[found].bytes = colon && colon[1] != '-' ? strtoull(colon + 1, NULL, 10) : ~0ULL;
        out[found].gpu_instance = out[found].compute_instance = ~0U;
    }
    *count = found;
    return found > room || (found && !out) ? INSUFFICIENT_SIZE : 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *count, process *out) {
    return processes(d, "processes", count, out);
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(device *d, unsigned *count, process *out) {
    return processes(d, "processes.graphics", count, out);
}

int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) {
    char found[TEXT];
    int result = text(d, "capability", found, sizeof found);
    if (!result && sscanf(found, "%d.%d", major, minor) != 2)
        abort();
    return result;
}

int nvmlDeviceGetEccMode(device *d, unsigned *current, unsigned *pending) {
    int result = number(d, "ecc.mode", current);
    *pending = *current;
    return result;
}

int nvmlDeviceGetMemoryErrorCounter(device *d, unsigned type, unsigned counter, unsigned location, unsigned long long *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "ecc.%s.%s.%s", counter ? "aggregate" : "volatile", type ? "uncorrected" : "corrected",
             location == 2 ? "dram" : location == 7 ? "sram" : "other");
    return wide(d, name, out);
}

int nvmlDeviceGetRemappedRows(device *d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    int result = number(d, "remap.corrected", corrected);
    if (!result)
        result = number(d, "remap.uncorrected", uncorrected);
    if (!result)
        result = number(d, "remap.pending", pending);
    return result ? result : number(d, "remap.failed", failed);
}

int nvmlDeviceGetRetiredPages(device *d, unsigned cause, unsigned *count, unsigned long long *pages) {
    unsigned found = 0, room = *count;
    int result = number(d, cause ? "retired.double" : "retired.single", &found);
    if (result)
        return result;
    for (unsigned page = 0; pages && page < found && page < room; page++)
        pages[page] = 4096ULL * (page + 1);
    *count = found;
    return found && (!pages || found > room) ? INSUFFICIENT_SIZE : 0;
}

int nvmlDeviceGetRetiredPagesPendingStatus(device *d, unsigned *pending) { return number(d, "retired.pending", pending); }

typedef struct { unsigned long long reference, violation; } violation;

int nvmlDeviceGetViolationStatus(device *d, unsigned policy, violation *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "violation.%u", policy);
    out->reference = (unsigned long long)(now() * 1e6);
    return wide(d, name, &out->violation);
}

int nvmlDeviceGetCurrentClocksEventReasons(device *d, unsigned long long *out) { return wide(d, "reasons", out); }
int nvmlDeviceGetCurrentClocksThrottleReasons(device *d, unsigned long long *out) { return wide(d, "reasons", out); }

int nvmlDeviceGetTemperature(device *d, unsigned sensor, unsigned *out) {
    (void)sensor;
    return number(d, "temperature", out);
}

int nvmlDeviceGetTemperatureThreshold(device *d, unsigned threshold, unsigned *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "threshold.%u", threshold);
    return number(d, name, out);
}

static const char *clock_name(unsigned type) {
    return type == 0 ? "graphics" : type == 1 ? "sm" : type == 2 ? "memory" : "video";
}

int nvmlDeviceGetClockInfo(device *d, unsigned type, unsigned *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "clock.%s", clock_name(type));
    return number(d, name, out);
}

int nvmlDeviceGetMaxClockInfo(device *d, unsigned type, unsigned *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "clock.most.%s", clock_name(type));
    return number(d, name, out);
}

int nvmlDeviceGetPowerUsage(device *d, unsigned *out) { return number(d, "power", out); }
int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *out) { return number(d, "power.enforced", out); }
int nvmlDeviceGetPowerManagementDefaultLimit(device *d, unsigned *out) { return number(d, "power.default", out); }

int nvmlDeviceGetCurrPcieLinkGeneration(device *d, unsigned *out) { return number(d, "pcie.generation", out); }
int nvmlDeviceGetMaxPcieLinkGeneration(device *d, unsigned *out) { return number(d, "pcie.generation.most", out); }
int nvmlDeviceGetGpuMaxPcieLinkGeneration(device *d, unsigned *out) { return number(d, "pcie.generation.card", out); }
int nvmlDeviceGetCurrPcieLinkWidth(device *d, unsigned *out) { return number(d, "pcie.width", out); }
int nvmlDeviceGetMaxPcieLinkWidth(device *d, unsigned *out) { return number(d, "pcie.width.most", out); }
int nvmlDeviceGetPcieReplayCounter(device *d, unsigned *out) { return number(d, "pcie.replays", out); }

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci;

int nvmlDeviceGetPciInfo_v3(device *d, pci *out) {
    int result = text(d, "bus", out->bus_id, sizeof out->bus_id);
    if (result)
        return result;
    if (sscanf(out->bus_id, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3)
        abort();
    out->id = out->subsystem = 0;
    snprintf(out->legacy, sizeof out->legacy, "%04x:%02x:%02x.0", out->domain & 0xffff, out->bus & 0xff,
             out->device & 0xff);
    return 0;
}

int nvmlDeviceGetNvLinkState(device *d, unsigned link, unsigned *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "nvlink.%u.state", link);
    return number(d, name, out);
}

int nvmlDeviceGetNvLinkErrorCounter(device *d, unsigned link, unsigned counter, unsigned long long *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "nvlink.%u.errors.%u", link, counter);
    return wide(d, name, out);
}

int nvmlDeviceGetNvLinkVersion(device *d, unsigned link, unsigned *out) {
    char name[TEXT];
    snprintf(name, sizeof name, "nvlink.%u.version", link);
    return number(d, name, out);
}

typedef struct {
    unsigned version;
    unsigned char cluster[16];
    int status;
    unsigned clique;
    unsigned char state;
    unsigned health;
} fabric;

int nvmlDeviceGetGpuFabricInfoV(device *d, fabric *out) {
    unsigned state = 0, status = 0;
    int result = number(d, "fabric.state", &state);
    if (!result)
        result = number(d, "fabric.status", &status);
    if (result)
        return result;
    memset(out->cluster, 0, sizeof out->cluster);
    out->state = (unsigned char)state;
    out->status = (int)status;
    out->clique = out->health = 0;
    number(d, "fabric.health", &out->health);
    return 0;
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type;
    int result;
    union { double real; unsigned narrow; unsigned long long wide; } value;
} field_value;

int nvmlDeviceGetFieldValues(device *d, int count, field_value *values) {
    char key[TEXT], name[TEXT];
    int result = at(d, "fields", key);
    unsigned long long whole = 0;
    if (result)
        return result;
    result = number_of(key, &whole);
    if (result && result != NOT_SUPPORTED)
        return result;
    for (int index = 0; index < count; index++) {
        // The fields in which NVLink 5 counts are a link's, which is their scope.
        if (values[index].field >= 201 && values[index].field <= 222)
            snprintf(name, sizeof name, "nvlink.%u.field.%u", values[index].scope, values[index].field);
        else
            snprintf(name, sizeof name, "field.%u", values[index].field);
        values[index].type = 3;
        values[index].value.wide = 0;
        values[index].result = wide(d, name, &values[index].value.wide);
        strcat(name, ".type");
        number(d, name, &values[index].type);
    }
    return 0;
}

int nvmlEventSetCreate(event_set **out) {
    char none[TEXT];
    unsigned long calls;
    int result = text_of("events", none, sizeof none, &calls);
    if (result && result != NOT_SUPPORTED)
        return result;
    *out = calloc(1, sizeof **out);
    return 0;
}

int nvmlEventSetFree(event_set *set) {
    free(set);
    return 0;
}

int nvmlDeviceRegisterEvents(device *d, unsigned long long types, event_set *set) {
    char key[TEXT];
    unsigned long long code = 0;
    int result = at(d, "events", key);
    (void)types;
    (void)set;
    if (result)
        return result;
    result = number_of(key, &code);
    return result == NOT_SUPPORTED ? 0 : result;
}

typedef struct {
    device *at;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
} event_data;

/* `event.N = GPU XID`: told once to each set, when its condition holds. */
int nvmlEventSetWait_v2(event_set *set, event_data *out, unsigned milliseconds) {
    double end = now() + milliseconds / 1000.0;
    char key[TEXT], found[TEXT];
    unsigned long calls;
    unsigned gpu, code;
    struct timespec pause = {0, 5000000};
    do {
        for (int event = 0; event < MOST_EVENTS; event++) {
            snprintf(key, sizeof key, "event.%d", event);
            if (set->told[event] || text_of(key, found, sizeof found, &calls))
                continue;
            if (sscanf(found, "%u %u", &gpu, &code) != 2 || gpu >= MOST_GPUS)
                abort();
            set->told[event] = 1;
            devices[gpu] = (device){(int)gpu, 0};
            *out = (event_data){&devices[gpu], 8, code, ~0U, ~0U};
            return 0;
        }
        nanosleep(&pause, NULL);
    } while (now() < end);
    return TIMEOUT;
}
