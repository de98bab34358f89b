/*
 * protocol.h - what the harness and the actor agree on.
 *
 * An actor is started as `actor KIND ADDRESS COMMAND [ARG...]`. It makes its stream
 * itself, because a socket inherited over an exec counts as shared and is never held.
 * Descriptor 0 is the control pipe (the harness writes, the actor reads), descriptor
 * ACTOR_LOG the log. A log line that begins with '~' is for the harness alone; the
 * others are compared between the native and the preloaded run.
 *
 * A turn: the peer sends "warm\n", the actor answers WARM_BYTES in small writes, the
 * peer sends "go\n", the actor writes TURN_BYTES in small writes. After it a library
 * that gathers writes has every reason to be holding some.
 */
#ifndef INTEGRATION_PROTOCOL_H
#define INTEGRATION_PROTOCOL_H

/* High, so that the actor's lowest free numbers are what they are without us. */
#define ACTOR_LOG 200

#define WARM_BYTES "w1;w2;"
#define TURN_BYTES "1:one;2:two;3:three;"
#define PREFIX WARM_BYTES TURN_BYTES

#define KIND_TCP_ACCEPT "tcp-accept"
#define KIND_TCP_CONNECT "tcp-connect"
#define KIND_UNIX_ACCEPT "unix-accept"
#define KIND_UNIX_CONNECT "unix-connect"
#define KIND_FD "fd" /* ADDRESS is the number of an inherited stream */
#define KIND_NONE "none"

#endif
