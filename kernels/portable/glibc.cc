// Linked into the addon that travels (make portable): with -Wl,--wrap it takes the place of what a new glibc renamed or added,
// by what every glibc since 2.2.5 has on x86-64, so that a build on a new machine runs on an old one.
#include <pthread.h>
#include <sys/stat.h>

#define OLD(result, name, parameters, arguments)                       \
  extern "C" result old_##name parameters;                             \
  __asm__(".symver old_" #name "," #name "@GLIBC_2.2.5");              \
  extern "C" result __wrap_##name parameters { return old_##name arguments; }

OLD(double, exp, (double x), (x))
OLD(double, log, (double x), (x))
OLD(double, pow, (double x, double y), (x, y))
OLD(int, pthread_create, (pthread_t * t, const pthread_attr_t* a, void* (*f)(void*), void* p), (t, a, f, p))
OLD(int, pthread_join, (pthread_t t, void** r), (t, r))
OLD(int, pthread_once, (pthread_once_t * o, void (*f)()), (o, f))
OLD(int, __pthread_key_create, (pthread_key_t * k, void (*f)(void*)), (k, f))
OLD(int, pthread_key_create, (pthread_key_t * k, void (*f)(void*)), (k, f))
OLD(int, pthread_setspecific, (pthread_key_t k, const void* p), (k, p))
OLD(void*, dlopen, (const char* file, int mode), (file, mode))
OLD(void*, dlsym, (void* library, const char* name), (library, name))

extern "C" int old_fxstat(int version, int fd, struct stat* to);
__asm__(".symver old_fxstat,__fxstat@GLIBC_2.2.5");
extern "C" int __wrap_fstat(int fd, struct stat* to) { return old_fxstat(1, fd, to); }

// Read by libstdc++'s reference counts: false makes them atomic, always.
extern "C" {
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
}
