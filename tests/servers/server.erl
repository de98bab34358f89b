%% server.erl PORT DIRECTORY: inets' httpd serves the directory; a port of its own
%% (PORT + 1) speaks load_lines.py's protocol, each line of the reply by itself; "quit" ends
%% the emulator.
-module(server).
-export([main/1]).

main([Port, Directory]) ->
    ok = inets:start(),
    Number = list_to_integer(Port),
    {ok, _} = inets:start(httpd, [
        {port, Number}, {bind_address, {127, 0, 0, 1}}, {server_name, "localhost"},
        {server_root, Directory}, {document_root, Directory}, {ipfamily, inet},
        {modules, [mod_get, mod_head]}, {mime_types, []}, {keep_alive, true},
        {keep_alive_timeout, 15}, {max_clients, 100}
    ]),
    {ok, Listener} = gen_tcp:listen(Number + 1, [
        binary, {packet, line}, {active, false}, {reuseaddr, true},
        {ip, {127, 0, 0, 1}}, {backlog, 512}
    ]),
    accept(Listener).

accept(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn(fun() -> receive go -> lines(Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    accept(Listener).

lines(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, <<"quit\n">>} ->
            init:stop();
        {ok, Line} ->
            [_, Seed, Length] = string:lexemes(string:trim(Line), " "),
            ok = gen_tcp:send(Socket, ["re ", Line]),
            send(Socket, binary_to_integer(Seed), 0, binary_to_integer(Length)),
            ok = gen_tcp:send(Socket, ["end ", Seed, "\n"]),
            lines(Socket);
        {error, closed} ->
            ok
    end.

send(_, _, Length, Length) ->
    ok;
send(Socket, Seed, Number, Length) ->
    Value = Seed * 7919 + Number * 104729,
    ok = gen_tcp:send(Socket, io_lib:format("~b ~b~n", [Number, Value])),
    send(Socket, Seed, Number + 1, Length).
