/*
 * Bytes written before a sleep are out while it lasts. The keeper is a second away and
 * the limit is 300 ms, so only the sleeping call itself can have sent them.
 */
#include "scenario.h"

#define SIGNAL(call) \
	{ \
		"bytes_are_out_during_" call, "sleep " call, PREFIX, \
			.flags = IN_TIME | WAKE_SIGNAL \
	}
#define STDIN(call) \
	{ \
		"bytes_are_out_during_" call, "sleep " call, PREFIX, \
			.flags = IN_TIME | WAKE_STDIN \
	}
#define STREAM(call) \
	{ \
		"bytes_are_out_during_" call, "sleep " call, PREFIX, \
			.flags = IN_TIME | WAKE_STREAM \
	}

static const struct scenario scenarios[] = {
	SIGNAL("poll"),
	SIGNAL("poll-none"),
	SIGNAL("ppoll"),
	SIGNAL("select"),
	SIGNAL("pselect"),
	SIGNAL("epoll_wait"),
	SIGNAL("epoll_pwait"),
	SIGNAL("epoll_pwait2"),

	SIGNAL("nanosleep"),
	SIGNAL("clock_nanosleep"),
	SIGNAL("usleep"),
	SIGNAL("sleep"),
	SIGNAL("syscall-nanosleep"),
	SIGNAL("pause"),
	SIGNAL("sigsuspend"),
	SIGNAL("sigwait"),
	SIGNAL("sigwaitinfo"),
	SIGNAL("sigtimedwait"),

	STDIN("wait"),
	STDIN("waitpid"),
	STDIN("wait3"),
	STDIN("wait4"),
	STDIN("waitid"),
	STDIN("pclose"),

	STDIN("pthread_cond_wait"),
	STDIN("pthread_cond_timedwait"),
	STDIN("pthread_cond_clockwait"),
	STDIN("sem_wait"),
	STDIN("sem_timedwait"),
	STDIN("sem_clockwait"),
	STDIN("pthread_join"),
	STDIN("pthread_timedjoin_np"),
	STDIN("pthread_clockjoin_np"),
	STDIN("thrd_join"),
	STDIN("cnd_wait"),
	STDIN("cnd_timedwait"),
	SIGNAL("thrd_sleep"),
	STDIN("pthread_barrier_wait"),
	STDIN("msgsnd"),
	STDIN("syscall-msgsnd"),
	STDIN("mq_send"),
	STDIN("mq_timedsend"),
	STDIN("msgrcv"),
	STDIN("syscall-msgrcv"),
	STDIN("semop"),
	STDIN("semtimedop"),
	STDIN("mq_receive"),
	STDIN("mq_timedreceive"),
	STDIN("flock"),
	SIGNAL("futex"),

	STREAM("read"),
	STREAM("recv"),
	STREAM("recvfrom"),
	STREAM("recvmsg"),
	STREAM("readv"),
	STREAM("peek"),
	STREAM("recv-all"),
	SIGNAL("read-other"),
	SIGNAL("send-other"),
	{ "a_handler_s_bytes_are_out_during_the_next_sleep", "sleep handled",
	  PREFIX "4;5;", .early = PREFIX "4;5;", .flags = IN_TIME | WAKE_SIGNAL },
	/* Stepped by instructions, of which sanitizers add many. Without metrics, for which a sleep looks every second
	 * whether a thread is to be made: with all signals blocked, where a trap is the end. */
	{ "what_a_handler_holds_as_a_sleep_begins_is_out_during_the_next",
	  "interleave sleep", NULL, "over\n", .kinds = BIT(NO_STREAM),
	  .flags = NO_GREETING | PLAIN_BUILD, .env = { "STREAM_METRICS_SOCKET=off" } },
	STDIN("read-pipe"),
	STDIN("readv-pipe"),
	SIGNAL("read-event"),
	SIGNAL("accept"),
	SIGNAL("accept4"),
	SIGNAL("connect"),
};

int
main(void)
{
	return scenario_main("sleeps", scenarios, sizeof scenarios / sizeof *scenarios);
}
