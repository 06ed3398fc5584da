/* A stand-in for NVIDIA's management library, libnvidia-ml.so.1, which the real nvidia-ml-py loads.

   NVIDIA_DRIVER describes the GPUs: one letter each, `H` (H200), `A` (A100), `M` (A100 with MIG on) or `L`
   (lost). `M` is followed by one character for each place of a slice: `1` for a slice, `0` for none. "HHM101" has four
   usable parts. "!" is a driver whose version does not match its library's, and "?" one that is not loaded.

   NVIDIA_READINGS is a file that a test may change while the process runs. Its lines are for the GPUs in order: the
   utilization in percent, the bytes of memory that are used, all bytes, and the power in mW. "-1" is a value that the
   driver does not support, and "lost" a GPU that has fallen off the bus. Without the file, a GPU is
   idle, has 141 GB like an H200, and uses as many GB as its number. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, NOT_LOADED = 9, LOST = 15, MISMATCH = 18 };

struct device {
    char kind;
    int index, slice; /* slice is -1 for a whole GPU */
    const char *places;
};

static struct device devices[64], slices[64][8];
static int count;

int nvmlInitWithFlags(unsigned int flags) {
    const char *text = getenv("NVIDIA_DRIVER");
    count = 0;
    if (text && *text == '!') return MISMATCH;
    if (text && *text == '?') return NOT_LOADED;
    for (; text && *text; text++) {
        if (*text == '0' || *text == '1') continue;
        devices[count] = (struct device){*text, count, -1, text + 1};
        count++;
    }
    return SUCCESS;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
    return code == MISMATCH ? "Driver/library version mismatch" : code == LOST ? "GPU is lost" : "error";
}

int nvmlDeviceGetCount_v2(unsigned int *number) {
    *number = count;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct device **handle) {
    if ((int)index >= count) return INVALID;
    if (devices[index].kind == 'L') return LOST;
    *handle = &devices[index];
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct device *handle, char *text, unsigned int length) {
    if (handle->slice < 0) snprintf(text, length, "GPU-%d0000000-aaaa", handle->index);
    else snprintf(text, length, "MIG-%d%d000000-bbbb", handle->index, handle->slice);
    return SUCCESS;
}

int nvmlDeviceGetName(struct device *handle, char *text, unsigned int length) {
    const char *name = handle->kind == 'H' ? "NVIDIA H200" : "NVIDIA A100";
    snprintf(text, length, handle->slice < 0 ? "%s" : "%s MIG 1g.5gb", name);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(struct device *handle, unsigned int *now, unsigned int *later) {
    if (handle->kind == 'H') return UNSUPPORTED;
    *now = *later = handle->kind == 'M';
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct device *handle, unsigned int *number) {
    *number = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct device *handle, unsigned int index, struct device **slice) {
    if (index >= strspn(handle->places, "01") || handle->places[index] == '0') return NOT_FOUND;
    slices[handle->index][index] = (struct device){handle->kind, handle->index, (int)index, ""};
    *slice = &slices[handle->index][index];
    return SUCCESS;
}

struct readings {
    long long utilization, used, total, power;
};

static int readings_of(struct device *handle, struct readings *now) {
    const char *path = getenv("NVIDIA_READINGS");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[128] = "";
    *now = (struct readings){0, handle->index * 1000000000LL, 141 * 1000000000LL, 75000};
    if (!file) return SUCCESS;
    for (int number = 0; number <= handle->index && fgets(line, sizeof line, file); number++) continue;
    fclose(file);
    if (strncmp(line, "lost", 4) == 0) return LOST;
    sscanf(line, "%lld %lld %lld %lld", &now->utilization, &now->used, &now->total, &now->power);
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct device *handle, unsigned int *rates) {
    struct readings now;
    int code = readings_of(handle, &now);
    if (code) return code;
    if (handle->slice >= 0 || now.utilization < 0) return UNSUPPORTED; /* as for slices of a real driver */
    rates[0] = now.utilization, rates[1] = 0;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(struct device *handle, unsigned long long *memory) {
    struct readings now;
    int code = readings_of(handle, &now);
    if (code) return code;
    int parts = handle->slice < 0 ? 1 : 8;
    memory[0] = now.total / parts, memory[1] = (now.total - now.used) / parts, memory[2] = now.used / parts;
    return SUCCESS;
}

int nvmlDeviceGetPowerUsage(struct device *handle, unsigned int *milliwatts) {
    struct readings now;
    int code = readings_of(handle, &now);
    if (code) return code;
    if (handle->slice >= 0 || now.power < 0) return UNSUPPORTED;
    *milliwatts = now.power;
    return SUCCESS;
}
