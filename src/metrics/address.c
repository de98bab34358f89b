/* Socket addresses as people write them, from bytes that may be anything. */
#include "metrics/json.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

/* Longest: eight groups, brackets and a port. */
struct piece {
	char text[64];
	unsigned len;
};

static void
put(struct piece *p, const char *s)
{
	while (*s && p->len < sizeof p->text)
		p->text[p->len++] = *s++;
}

static void
put_number(struct piece *p, unsigned n, unsigned base)
{
	char digits[11];
	unsigned at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	put(p, digits + at);
}

static void
put_inet(struct piece *p, const unsigned char *b)
{
	for (int i = 0; i < 4; i++) {
		put(p, i ? "." : "");
		put_number(p, b[i], 10);
	}
}

static unsigned
group(const unsigned char *b, int i)
{
	return (unsigned)b[2 * i] << 8 | b[2 * i + 1];
}

/* The first longest run of two zero groups or more (RFC 5952): its begin, and its length. */
static int
zero_run(const unsigned char *b, int *run)
{
	int best = -1;

	*run = 1;
	for (int i = 0, nr = 0; i < 8; i++) {
		nr = group(b, i) ? 0 : nr + 1;
		if (nr > *run) {
			*run = nr;
			best = i - nr + 1;
		}
	}
	return best;
}

static void
put_inet6(struct piece *p, const unsigned char *b)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	int run, from = zero_run(b, &run);

	if (!memcmp(b, mapped, sizeof mapped)) {
		put(p, "::ffff:");
		put_inet(p, b + 12);
		return;
	}
	for (int i = 0; i < 8; i++) {
		if (i == from) {
			put(p, "::");
			i += run - 1;
			continue;
		}
		put(p, i && i != from + run ? ":" : "");
		put_number(p, group(b, i), 16);
	}
}

static void
put_port(struct piece *p, in_port_t port)
{
	put(p, ":");
	put_number(p, ntohs(port), 10);
}

/* A path, @ and a name that may hold any byte, or nothing. */
static void
unix_address(struct out *out, const struct region_addr *addr)
{
	const char *path = addr->bytes + offsetof(struct sockaddr_un, sun_path);
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t len = addr->len > head ? addr->len - head : 0;
	char name[sizeof addr->bytes];

	if (len && *path)
		len = strnlen(path, len);
	memcpy(name, path, len);
	if (len && !*path)
		name[0] = '@';
	out_json(out, name, len);
}

void
json_address(struct out *out, const struct region_addr *addr)
{
	struct piece p = { .len = 0 };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	sa_family_t family = AF_UNSPEC;

	if (addr->len >= sizeof family)
		memcpy(&family, addr->bytes, sizeof family);
	if (family == AF_UNIX) {
		unix_address(out, addr);
		return;
	}
	if (family == AF_INET && addr->len >= sizeof in) {
		memcpy(&in, addr->bytes, sizeof in);
		put_inet(&p, (const unsigned char *)&in.sin_addr);
		put_port(&p, in.sin_port);
	} else if (family == AF_INET6 && addr->len >= sizeof in6) {
		memcpy(&in6, addr->bytes, sizeof in6);
		put(&p, "[");
		put_inet6(&p, in6.sin6_addr.s6_addr);
		put(&p, "]");
		put_port(&p, in6.sin6_port);
	}
	out_json(out, p.text, p.len);
}
