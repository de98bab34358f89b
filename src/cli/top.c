/* weir top: the pages on a screen, or one of them where there is none. */
#include "cli/cli.h"
#include "cli/page.h"
#include "cli/text.h"
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	INTERVAL_MS = 1000,
	STREAMS_BESIDE = 20, /* below all families */
	STREAMS_MOST = 1000, /* of one family: nobody scrolls further */
	KEY_ESCAPE = 27,
	ESCAPE_WAIT_MS = 25, /* whether an escape is a key of its own */
};

enum { PAIR_HEAD = 1, PAIR_BLOCKED };

struct top {
	struct watch watch;
	struct listing streams;
	struct choice choice;
	struct page page;
	int first; /* the line of the page that is at the screen's top */
	bool paused, helps, colours;
	double next_ms;
};

static void
ask_streams(struct top *t)
{
	int family = page_family(&t->watch, &t->choice);
	struct families one = t->watch.families;

	listing_close(&t->streams);
	if (family >= 0) {
		one.at = &t->watch.families.at[family];
		one.nr = 1;
	}
	listing_open(&t->streams, &one, "open", t->choice.sort,
		     family >= 0 ? STREAMS_MOST : STREAMS_BESIDE);
}

static int
look(struct top *t)
{
	int ret = watch_look(&t->watch);

	t->next_ms = now_ms() + INTERVAL_MS;
	/* Entries point to families of the look before. */
	ask_streams(t);
	return ret;
}

static void
fini(struct top *t)
{
	page_clear(&t->page);
	listing_close(&t->streams);
	watch_fini(&t->watch);
	free(t->choice.family);
	free(t->choice.stream);
}

/* ---- without a screen ---- */

static json_t *
sample_json(const struct watch *w, int i)
{
	struct sample change;
	double hold;

	watch_change(w, i, &change);
	hold = holds_quantile(&change.holds, 0.99);
	return json_pack(
		"{s:i, s:s, s:o, s:f, s:f, s:f, s:o, s:o, s:o, s:O?}", "pid",
		change.family->seen_pid, "program", change.family->program, "socket",
		json_path(change.family->place->path), "seconds", change.seconds,
		"streams", change.streams, "blocked", change.blocked, "holdP99",
		hold < 0 ? json_null() : json_real(hold * 1e3), "request",
		flow_json(&change.way[0]), "response", flow_json(&change.way[1]),
		"pool", json_object_get(change.family->metrics, "pool"));
}

static int
print_json(const struct top *t)
{
	json_t *families = json_array(), *streams = json_array(), *doc;
	int ret;

	for (int i = 0; i < t->watch.nr_now; i++)
		json_array_append_new(families, sample_json(&t->watch, i));
	for (int i = 0; i < t->streams.nr; i++) {
		json_object_set_new(t->streams.at[i].entry, "program",
				    json_string(t->streams.at[i].family->program));
		json_array_append(streams, t->streams.at[i].entry);
	}
	doc = json_pack("{s:o, s:o}", "families", families, "streams", streams);
	ret = json_out(doc);
	json_decref(doc);
	return ret;
}

static int
print_frame(struct top *t)
{
	page_build(&t->page, &t->watch, &t->streams, &t->choice);
	for (int i = 0; i < t->page.nr; i++)
		puts(t->page.at[i].text);
	if (fflush(stdout) == EOF) {
		complain("cannot write: %s", strerror(errno));
		return END_FAILED;
	}
	return END_FINE;
}

/* ---- on a screen ---- */

static attr_t
attributes(const struct top *t, enum mark mark)
{
	switch (mark) {
	case MARK_TITLE:
		return A_BOLD;
	case MARK_HEAD:
		return t->colours ? COLOR_PAIR(PAIR_HEAD) | A_BOLD
				  : A_BOLD | A_UNDERLINE;
	case MARK_SELECTED:
		return A_REVERSE;
	case MARK_BLOCKED:
		return t->colours ? COLOR_PAIR(PAIR_BLOCKED) : A_BOLD;
	default:
		return A_NORMAL;
	}
}

static void
put_line(int row, attr_t how, const char *text, int width)
{
	struct text cut = { 0 };

	text_cut(&cut, text, width);
	attrset((int)how);
	mvaddstr(row, 0, text_string(&cut));
	/* A selection is as wide as the screen. */
	if (how & A_REVERSE)
		for (int i = text_columns(text_string(&cut)); i < width; i++)
			addch(' ');
	attrset(A_NORMAL);
	text_fini(&cut);
}

static const char *const help_lines[] = {
	"up down j k    select a row (PgUp PgDn Home End: further)",
	"Enter right    open it: a family, then a stream",
	"Esc left       back",
	"s              next sort key; or at once: b backpressure, y bytes, n blocked now,",
	"               a age",
	"space          pause",
	"q              quit",
	"",
	"APP KRN        calls of the application, and those that reached the kernel",
	"HOLD           99 of 100 writes were held no longer than this",
	"HELD CAUSE     time of backpressure, for families each second, and its cause: the",
	"               peer's window, the network, the local send buffer, ? unknown, or",
	"               read: the server itself did not read",
	"BLK BLOCKED    streams kept from sending now, and for how long",
};

static void
draw(struct top *t)
{
	const char *complaint = complaint_last();
	int height, width;
	struct text foot = { 0 };

	getmaxyx(stdscr, height, width);
	page_clear(&t->page);
	t->page.width = width;
	page_build(&t->page, &t->watch, &t->streams, &t->choice);
	/* The selection stays in sight, and no empty screen is shown below the page's end. */
	if (t->page.selected_line >= t->first + height - 1)
		t->first = t->page.selected_line - height + 2;
	if (t->page.selected_line >= 0 && t->page.selected_line < t->first)
		t->first = t->page.selected_line;
	if (t->first > t->page.nr - height + 1)
		t->first = t->page.nr - height + 1;
	if (t->first < 0)
		t->first = 0;
	erase();
	if (t->helps)
		for (int i = 0; i < (int)(sizeof help_lines / sizeof *help_lines) &&
				i < height - 1;
		     i++)
			put_line(i, A_NORMAL, help_lines[i], width);
	else
		for (int i = 0; i < height - 1 && t->first + i < t->page.nr; i++)
			put_line(i, attributes(t, t->page.at[t->first + i].mark),
				 t->page.at[t->first + i].text, width);
	if (*complaint)
		text_add(&foot, "%s", complaint);
	else
		text_add(&foot,
			 "q quit  Enter open  Esc back  s sort: %s  space %s  h help",
			 sort_names[t->choice.sort], t->paused ? "go on" : "pause");
	if (height > 1)
		put_line(height - 1, A_BOLD, text_string(&foot), width);
	text_fini(&foot);
	refresh();
}

static void
move_selection(struct top *t, int by)
{
	t->choice.at += by;
	if (t->choice.at < 0)
		t->choice.at = 0; /* its end is the page's business */
}

static void
sort_by(struct top *t, enum listing_sort sort)
{
	t->choice.sort = sort;
	t->choice.at = 0;
	ask_streams(t);
}

/* Then getch() says at once that no key came, for ever. */
static bool
terminal_gone(void)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&in, 1, 0) > 0 && in.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* False: the user wants to leave. */
static bool
on_key(struct top *t, int key)
{
	int page = LINES > 8 ? LINES - 8 : 1;

	if (t->helps && key != KEY_RESIZE && key != 'q') {
		t->helps = false;
		return true;
	}
	switch (key) {
	case 'q':
		return false;
	case 'h':
	case '?':
		t->helps = true;
		break;
	case ' ':
		t->paused = !t->paused;
		break;
	case KEY_UP:
	case 'k':
		move_selection(t, -1);
		break;
	case KEY_DOWN:
	case 'j':
		move_selection(t, 1);
		break;
	case KEY_PPAGE:
		move_selection(t, -page);
		break;
	case KEY_NPAGE:
		move_selection(t, page);
		break;
	case KEY_HOME:
		move_selection(t, -STREAMS_MOST);
		break;
	case KEY_END:
		move_selection(t, STREAMS_MOST);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
	case KEY_RIGHT:
		if (page_open_row(&t->watch, &t->streams, &t->choice))
			ask_streams(t);
		break;
	case KEY_ESCAPE:
	case KEY_LEFT:
	case KEY_BACKSPACE:
	case 127:
		if (page_back(&t->choice))
			ask_streams(t);
		break;
	case 's':
		sort_by(t, (enum listing_sort)((t->choice.sort + 1) % NR_SORTS));
		break;
	case 'b':
		sort_by(t, BY_BACKPRESSURE);
		break;
	case 'y':
		sort_by(t, BY_BYTES);
		break;
	case 'n':
		sort_by(t, BY_BLOCKED);
		break;
	case 'a':
		sort_by(t, BY_AGE);
		break;
	default:
		break;
	}
	return true;
}

static void
watch_screen(struct top *t)
{
	const char *no_colour = getenv("NO_COLOR");
	bool goes_on = true;

	noecho();
	cbreak();
	keypad(stdscr, TRUE);
	set_escdelay(ESCAPE_WAIT_MS);
	curs_set(0);
	if (!(no_colour && *no_colour) && has_colors() && start_color() == OK &&
	    use_default_colors() == OK) {
		init_pair(PAIR_HEAD, COLOR_CYAN, -1);
		init_pair(PAIR_BLOCKED, COLOR_RED, -1);
		t->colours = true;
	}
	while (goes_on) {
		double left;
		int key;

		draw(t);
		left = t->paused ? INTERVAL_MS : t->next_ms - now_ms();
		timeout(left > 0 ? (int)left + 1 : 0);
		key = getch();
		if (key != ERR)
			goes_on = on_key(t, key);
		else if (terminal_gone())
			goes_on = false;
		else if (!t->paused)
			/* Where all are gone, the last line says so until one comes. */
			look(t);
	}
}

static int
run_top(int argc, char **argv)
{
	struct top t = { .page = { .selected_line = -1 } };
	bool json = false;
	int ret = options_read(&verb_top, argc, argv, &json, NULL);
	SCREEN *screen = NULL;

	if (ret < 0)
		return -1 - ret;
	if (ret > 1)
		return usage(&verb_top);
	t.watch.target = ret ? argv[1] : NULL;
	ret = look(&t);
	if (ret == END_FINE && !json && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO)) {
		screen = newterm(NULL, stdout, stdin);
		if (!screen)
			complain(
				"top: TERM names no terminal that is known: this is one frame");
	}
	if (screen) {
		t.choice.selects = true;
		complaints_keep(true);
		watch_screen(&t);
		endwin();
		delscreen(screen);
		complaints_keep(false);
	} else if (ret == END_FINE) {
		ret = json ? print_json(&t) : print_frame(&t);
	}
	fini(&t);
	return ret;
}

const struct verb verb_top = {
	"top",
	"[-j|--json] [TARGET]",
	"watch families and streams, full screen",
	"Families with what they did each second, and the streams with most backpressure.\n"
	"h shows the keys and what the columns mean. Where stdout is no terminal: one frame,\n"
	"with averages since the start.\n"
	"\n"
	"  -j, --json   one frame, as {families, streams}; times in milliseconds\n"
	"\n"
	"NO_COLOR turns colours off. Exit status: 0, 3 where no family fits.\n",
	false,
	run_top
};
