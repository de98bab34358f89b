#ifndef WEIR_CLI_PROC_H
#define WEIR_CLI_PROC_H
/* cli/proc: what /proc says of processes. They may end at any moment, and most of it is only for
 * who may trace them: every function then gives nothing, which is no error. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct text;

/* Adds the file /proc/PID/NAME, up to a bound; false if it cannot be read. */
bool proc_read(pid_t pid, const char *name, struct text *out);

/* Where the link /proc/PID/NAME leads; false if it cannot be read. */
bool proc_link(pid_t pid, const char *name, char *out, size_t cap);

/* Calls `with` with every process. */
void proc_each(void (*with)(pid_t pid, void *arg), void *arg);

bool proc_exists(pid_t pid);

/* True if a file of this base name is mapped, one deleted since included. */
bool proc_maps(pid_t pid, const char *name);

/* Calls `with` with the path of every file mapped, once for each mapping. */
void proc_mapped_files(pid_t pid, void (*with)(const char *path, void *arg), void *arg);

/* Adds the value of a variable in the environment the process was started with; false if it has
 * none, or cannot be looked at. */
bool proc_variable(pid_t pid, const char *name, struct text *out);

/* The base name of argv[0], what the library takes for the program; "" if unknown. */
void proc_program(pid_t pid, struct text *out);

/* The number that a process has in its own pid namespace; `pid` where that is unknown. */
pid_t proc_own_number(pid_t pid);

/* True if both live in the same namespace of the kind ("mnt", "net", "pid"), as far as one may
 * look: what cannot be looked at is taken for the same. */
bool proc_same_namespace(pid_t a, pid_t b, const char *kind);

/* The number of the auxiliary vector's entry of that type; false if unknown. */
bool proc_auxiliary(pid_t pid, unsigned long type, unsigned long *value);

/* Calls `with` with the target of every descriptor's link. */
void proc_descriptors(pid_t pid, void (*with)(const char *target, void *arg), void *arg);

/* Adds the inodes of the sockets that it has open, for proc_has_socket(). */
void proc_sockets(pid_t pid, struct text *inodes);
bool proc_has_socket(const struct text *inodes, unsigned long inode);
#endif
