/* A USB camera that answers as a driver does, for a process that has this loaded before the C library (LD_PRELOAD).

   There is no kernel module to be had where tests run, so this stands where the kernel would: what opens the file
   $USB_CAMERA gets a memory file, which can be mapped as a driver's buffers can, and its ioctls are answered here, by
   the structures of the kernel's own header. Everything above, OpenCV's Video4Linux among it, is the real thing.

   $USB_CAMERA_KIND: "webcam" has MJPG (640x480, 1280x720, at 30 and 15 fps) and YUYV; "raw" has YUYV only, of any
   size from 32x24 to 640x480. Images are $USB_CAMERA_JPEGS/WIDTHxHEIGHT.jpg, or grey. Removing the file unplugs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int device = -1;
static struct v4l2_pix_format format = {640, 480, V4L2_PIX_FMT_YUYV, V4L2_FIELD_NONE};
static unsigned fps = 30, buffers, next, queued;
static int streaming;
static const unsigned SIZES[][2] = {{640, 480}, {1280, 720}};

static const char *path(void) { return getenv("USB_CAMERA") ? getenv("USB_CAMERA") : ""; }
static int raw(void) { return getenv("USB_CAMERA_KIND") && !strcmp(getenv("USB_CAMERA_KIND"), "raw"); }
static int unplugged(void) { return access(path(), F_OK) != 0; }
static unsigned fastest(void) { return format.pixelformat == V4L2_PIX_FMT_MJPEG || format.width <= 640 ? 30 : 10; }

static int fail(int error) {
    errno = error;
    return -1;
}

static void settle(struct v4l2_pix_format *wanted) {
    int jpeg = !raw() && wanted->pixelformat == V4L2_PIX_FMT_MJPEG;
    int large = !raw() && wanted->width > 640;
    wanted->pixelformat = jpeg ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
    wanted->width = SIZES[large][0];
    wanted->height = SIZES[large][1];
    wanted->field = V4L2_FIELD_NONE;
    wanted->bytesperline = jpeg ? 0 : 2 * wanted->width;
    wanted->sizeimage = 2 * wanted->width * wanted->height;
}

static unsigned fill(unsigned index) {
    char name[4096];
    unsigned char *to = mmap(NULL, format.sizeimage, PROT_WRITE, MAP_SHARED, device, (off_t)index * 4194304);
    unsigned used = format.sizeimage;
    if (to == MAP_FAILED) return 0;
    memset(to, 128, used);
    if (format.pixelformat == V4L2_PIX_FMT_MJPEG) {
        snprintf(name, sizeof name, "%s/%ux%u.jpg", getenv("USB_CAMERA_JPEGS"), format.width, format.height);
        FILE *file = fopen(name, "rb");
        used = file ? fread(to, 1, used, file) : 0;
        if (file) fclose(file);
    }
    munmap(to, format.sizeimage);
    return used;
}

static int answer(unsigned long request, void *asked) {
    if (unplugged()) return fail(ENODEV);
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *told = asked;
        memset(told, 0, sizeof *told);
        strcpy((char *)told->driver, "uvcvideo");
        strcpy((char *)told->card, "Test camera");
        told->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        told->capabilities = told->device_caps | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *told = asked;
        if (told->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || told->index > (raw() ? 0 : 1)) return fail(EINVAL);
        told->pixelformat = !raw() && told->index == 0 ? V4L2_PIX_FMT_MJPEG : V4L2_PIX_FMT_YUYV;
        strcpy((char *)told->description, "whatever the driver calls it");
        return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
        struct v4l2_frmsizeenum *told = asked;
        if (told->index > (raw() ? 0 : 1)) return fail(EINVAL);
        told->type = raw() ? V4L2_FRMSIZE_TYPE_STEPWISE : V4L2_FRMSIZE_TYPE_DISCRETE;
        if (raw()) {
            struct v4l2_frmsize_stepwise range = {32, 640, 8, 24, 480, 6};
            told->stepwise = range;
        } else {
            told->discrete.width = SIZES[told->index][0];
            told->discrete.height = SIZES[told->index][1];
        }
        return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *told = asked;
        unsigned slow = told->pixel_format == V4L2_PIX_FMT_YUYV && told->width > 640;
        if (told->index > (raw() || slow ? 0 : 1)) return fail(EINVAL);
        told->type = raw() ? V4L2_FRMIVAL_TYPE_CONTINUOUS : V4L2_FRMIVAL_TYPE_DISCRETE;
        if (raw()) {
            struct v4l2_frmival_stepwise range = {{1, 60}, {1, 5}, {1, 1}};
            told->stepwise = range;
        } else {
            told->discrete.numerator = 1;
            told->discrete.denominator = slow ? 10 : told->index ? 15 : 30;
        }
        return 0;
    }
    case VIDIOC_G_INPUT: *(int *)asked = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_ENUMINPUT: {
        struct v4l2_input *told = asked;
        if (told->index) return fail(EINVAL);
        told->type = V4L2_INPUT_TYPE_CAMERA;
        return 0;
    }
    case VIDIOC_G_FMT:
        settle(&format);
        ((struct v4l2_format *)asked)->fmt.pix = format;
        return 0;
    case VIDIOC_TRY_FMT: settle(&((struct v4l2_format *)asked)->fmt.pix); return 0;
    case VIDIOC_S_FMT:
        if (buffers) return fail(EBUSY);
        settle(&((struct v4l2_format *)asked)->fmt.pix);
        format = ((struct v4l2_format *)asked)->fmt.pix;
        fps = fastest() < fps ? fastest() : fps;
        return 0;
    case VIDIOC_S_PARM: {
        struct v4l2_fract *wanted = &((struct v4l2_streamparm *)asked)->parm.capture.timeperframe;
        fps = wanted->numerator ? wanted->denominator / wanted->numerator : fps;
        fps = fps > fastest() ? fastest() : fps;
    } /* fall through: it answers with the values that it accepted */
    case VIDIOC_G_PARM: {
        struct v4l2_captureparm *told = &((struct v4l2_streamparm *)asked)->parm.capture;
        told->capability = V4L2_CAP_TIMEPERFRAME;
        told->timeperframe.numerator = 1;
        told->timeperframe.denominator = fps;
        return 0;
    }
    case VIDIOC_REQBUFS:
        buffers = ((struct v4l2_requestbuffers *)asked)->count;
        next = queued = 0;
        return ftruncate(device, (off_t)buffers * 4194304);
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *told = asked;
        if (told->index >= buffers) return fail(EINVAL);
        told->length = format.sizeimage;
        told->m.offset = told->index * 4194304;
        return 0;
    }
    case VIDIOC_QBUF: queued++; return 0;
    case VIDIOC_DQBUF: {
        struct v4l2_buffer *told = asked;
        if (!streaming || !queued) return fail(EINVAL);
        usleep(1000000 / fps);
        queued--;
        told->index = next++ % buffers;
        told->bytesused = fill(told->index);
        told->length = format.sizeimage;
        told->flags = V4L2_BUF_FLAG_DONE;
        return 0;
    }
    case VIDIOC_STREAMON: streaming = 1; return 0;
    case VIDIOC_STREAMOFF: streaming = 0; queued = 0; return 0;
    }
    return fail(EINVAL);
}

int ioctl(int file, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *asked = va_arg(rest, void *);
    va_end(rest);
    if (file == device && device >= 0) return answer(request & 0xffffffff, asked);
    return syscall(SYS_ioctl, file, request, asked);
}

static int open_any(const char *name, int flags, mode_t mode) {
    if (strcmp(name, path()) || unplugged()) return syscall(SYS_openat, AT_FDCWD, name, flags, mode);
    if (device >= 0) return fail(EBUSY);
    format = (struct v4l2_pix_format){640, 480, V4L2_PIX_FMT_YUYV};
    settle(&format);
    fps = 30, buffers = 0, streaming = 0;
    return device = memfd_create("camera", 0);
}

#define OPENS(name)                                              \
    int name(const char *file, int flags, ...) {                 \
        va_list rest;                                            \
        va_start(rest, flags);                                   \
        mode_t mode = va_arg(rest, int);                         \
        va_end(rest);                                            \
        return open_any(file, flags, mode);                      \
    }
OPENS(open)
OPENS(open64)

int close(int file) {
    if (file == device) device = -1;
    return syscall(SYS_close, file);
}
