# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cloudbox_global_optspecs
    string join \n s/socket= json h/help V/version
end

function __fish_cloudbox_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cloudbox_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cloudbox_using_subcommand
    set -l cmd (__fish_cloudbox_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cloudbox -n "__fish_cloudbox_needs_command" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_needs_command" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "list" -d 'show all containers with their state, addresses and usage'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "info" -d 'show everything about a container'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "top" -d 'show who uses what, again and again, until Ctrl-C'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "create" -d 'make a container and start it'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "set" -d 'change a container'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "delete" -d 'remove containers with their data'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "adopt" -d 'take in containers that stand apart in `list`'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "prune" -d 'remove orphans and what was left half made'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "start" -d 'start containers'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "stop" -d 'stop containers'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "restart" -d 'stop containers and start them again'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "rename" -d 'give a stopped container another name'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "freeze" -d 'let containers stand still'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "unfreeze" -d 'let frozen containers go on'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "exec" -d 'run a program in a container'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "log" -d 'show what a container wrote to its console'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "shell" -d 'open a shell in a container'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "push" -d 'copy a file into a container, running or not'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "pull" -d 'copy a file out of a container, running or not'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "console" -d 'look at a container\'s console'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "snapshot" -d 'keep a container\'s files as they are now'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "snapshots" -d 'show a container\'s snapshots'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "restore" -d 'give a container the files of a snapshot back'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "snapshot-delete" -d 'remove a snapshot'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "clone" -d 'make a copy of a container'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "export" -d 'write a container into one file'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "import" -d 'make a container from an exported file'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "image" -d 'images that containers are made from'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "service" -d 'services that containers offer on the network'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "browse" -d 'show the services that are on the network'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "status" -d 'show how the box is doing'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "doctor" -d 'check whether all that is needed is there'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "reload" -d 'apply what was changed in /etc/config/cloudbox'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "shutdown" -d 'stop all containers, as when the box goes down'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "daemon" -d 'run the service; /etc/init.d/cloudbox does it'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "version" -d 'print the version, as `cloudbox --version` does'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "job" -d 'what is being done, and what was done last'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "events" -d 'print what happens, one line each, until Ctrl-C'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "call" -d 'call any method and print the reply as JSON'
complete -c cloudbox -n "__fish_cloudbox_needs_command" -f -a "help" -d 'explain a command'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand list" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand list" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand list" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand list" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand list" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand info" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand info" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand info" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand info" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand top" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand top" -l interval -d 'how often; 2 unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand top" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand top" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand top" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l image -d 'the image it is made from' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l memory -d 'most memory, such as 256M' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l cpus -d 'processors, such as 1 or 0.5' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l disk -d 'disk quota, such as 4G, or none; it can only grow' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l pids -d 'most processes' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l network -d 'the bridge it joins' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l address -d 'dhcp, or an address such as 10.0.0.2/24' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l gateway -d 'default route of a fixed address' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l isolate -d 'whether it can send in its own name only; yes unless said otherwise' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l reach -d 'where it may go: internet, lan or all' -r -f -a "internet\t''
lan\t''
all\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l rate -d 'most bytes in a second each way, such as 2M, or none' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l connections -d 'most new connections in a second, or none' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l priority -d '0 to 999, 50 unless said otherwise; at boot the smallest starts first' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l restart -d 'no, on-failure or always: what to do when it ended by itself' -r -f -a "no\t''
on-failure\t''
always\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l description -d 'what it is for' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l slice -d 'the slice it belongs to' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l key -d 'SSH key of its root, or a file of keys; may be repeated' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l service -d 'a service of its image to switch on; may be repeated' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l hostname -d 'what it calls itself, instead of its name' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l timezone -d 'such as Europe/Madrid' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l first-boot -d 'a script that is run once inside' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l no-autostart -d 'do not start it when the box starts'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l no-start -d 'do not start it now'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l protected -d 'refuse to delete it'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l nesting -d 'let it have containers of its own inside'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l io-uring -d 'let its programs use io_uring'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand create" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l memory -d 'most memory, such as 256M' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l cpus -d 'processors, such as 1 or 0.5' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l disk -d 'disk quota, such as 4G, or none; it can only grow' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l pids -d 'most processes' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l network -d 'the bridge it joins' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l address -d 'dhcp, or an address such as 10.0.0.2/24' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l gateway -d 'default route of a fixed address' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l isolate -d 'whether it can send in its own name only; yes unless said otherwise' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l reach -d 'where it may go: internet, lan or all' -r -f -a "internet\t''
lan\t''
all\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l rate -d 'most bytes in a second each way, such as 2M, or none' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l connections -d 'most new connections in a second, or none' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l priority -d '0 to 999, 50 unless said otherwise; at boot the smallest starts first' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l restart -d 'no, on-failure or always: what to do when it ended by itself' -r -f -a "no\t''
on-failure\t''
always\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l description -d 'what it is for' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l slice -d 'the slice it belongs to' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l autostart -d 'whether to start it when the box starts' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l protected -d 'whether it is safe from delete' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l nesting -d 'whether it may have containers of its own inside' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l io-uring -d 'whether its programs may use io_uring' -r -f -a "yes\t''
no\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l force -d 'also less memory than it uses: what does not fit is killed'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -s f -l force -d 'also when it is running'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand prune" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand prune" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand prune" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand prune" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand prune" -s y -l yes -d 'do it'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -l timeout -d 'how long it may take to shut down' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -s f -l force -d 'kill it at once'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -l timeout -d 'how long it may take to shut down' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -l timeout -d 'how long it may run' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -l user -d 'who runs it, by name or number; root unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -l directory -d 'where it runs, in the container' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -l env -d 'a variable; may be repeated' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -l lines -d 'how many lines; 100 unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -s f -l follow -d 'go on with what comes'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -l first-boot -d 'what the first-boot script said, instead'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -l user -d 'whose shell, by name or number; root unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand push" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand push" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand push" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand push" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand pull" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand pull" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand pull" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand pull" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand console" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand console" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand console" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand console" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -s f -l force -d 'also when it is running'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -l snapshot -d 'copy this snapshot of it' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -l snapshot -d 'export this snapshot of it' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -l image -d 'put the image into the file'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand import" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand import" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand import" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand import" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand import" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "list" -d 'show all images'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "info" -d 'show everything about an image'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "import" -d 'make an image from a file'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "remotes" -d 'show the servers that images come from'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "available" -d 'show what servers have for this box'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "pull" -d 'fetch images from a server, or their newer version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "prune" -d 'remove images that nobody uses'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "publish" -d 'put images where a web server serves them to boxes'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and not __fish_seen_subcommand_from list info import remotes available pull prune publish delete" -f -a "delete" -d 'remove images that no container uses'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from list" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from list" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from list" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from list" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from list" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from info" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from info" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from info" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from info" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -l sha256 -d 'refuse the file when this is not its sha256' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from import" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from remotes" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from remotes" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from remotes" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from remotes" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from remotes" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -l remote -d 'ask only this server' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from available" -l names -d 'print names only, as `image pull` takes them'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -l remote -d 'the server; any that has it unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -l allow-older -d 'also when a newer version was here'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from prune" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from prune" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from prune" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from prune" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from prune" -s y -l yes -d 'do it'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l key -d 'the secret key to sign the lists with' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l name -d 'what the image is called' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l serial -d 'its version; the last in order of the letters is the newest' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l os -d 'its system, such as debian' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l release -d 'the system\'s release' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l arch -d 'the processors it is for, such as amd64' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from publish" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -f -a "list" -d 'show what this box announces, and why not the rest'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -f -a "publish" -d 'announce a container\'s service on the network'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and not __fish_seen_subcommand_from list publish withdraw" -f -a "withdraw" -d 'stop announcing a service'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from list" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from list" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from list" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from list" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from list" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -l name -d 'the name people see' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -l txt -d 'a TXT record; may be repeated' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -l protocol -d 'announce it over one family' -r -f -a "any\t''
ipv4\t''
ipv6\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -l check -d 'none: also while its port is silent' -r -f -a "tcp\t''
none\t''"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from withdraw" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from withdraw" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from withdraw" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from withdraw" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand browse" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand browse" -l timeout -d 'how long to listen' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand browse" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand browse" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand browse" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand status" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand status" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand status" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand status" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand doctor" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand doctor" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand doctor" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand doctor" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand doctor" -l security -d 'look at what of the promises about security holds'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand reload" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand reload" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand reload" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand reload" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -l timeout -d 'how long all of them may take' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shutdown" -l no-wait -d 'print the job\'s number at once instead of following the job'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l config-dir -d 'UCI\'s files, instead of /etc/config' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l storage -d 'images and containers, instead of what UCI says' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l run-dir -d 'what lasts until a reboot, instead of /var/run/cloudbox' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l avahi -d 'avahi-daemon\'s files, instead of /etc/avahi' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l avahi-run -d 'its pid file\'s, instead of /var/run/avahi-daemon' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -s f -l foreground -d 'log to standard error instead of syslog'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand daemon" -s v -l verbose -d 'log more'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand version" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand version" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand version" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand version" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -f -a "list" -d 'show what is being done, and what was done last'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -f -a "status" -d 'show how far a job is'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -f -a "wait" -d 'follow jobs until they end'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and not __fish_seen_subcommand_from list status wait cancel" -f -a "cancel" -d 'end a job early'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from list" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from list" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from list" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from list" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from list" -l names -d 'print names only'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from status" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from status" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from status" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from status" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -l timeout -d 'how long to wait' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from cancel" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from cancel" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from cancel" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from cancel" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand events" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand events" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand events" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand events" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand call" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand call" -l timeout -d 'how long to wait for the reply; 30 unless said otherwise' -r
complete -c cloudbox -n "__fish_cloudbox_using_subcommand call" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand call" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand call" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand help" -s s -l socket -d 'ubusd\'s socket, instead of UBUS_SOCKET or the usual one' -r -F
complete -c cloudbox -n "__fish_cloudbox_using_subcommand help" -l json -d 'print replies as JSON, as they came'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand help" -s h -l help -d 'print help'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand help" -s V -l version -d 'print the version'
complete -c cloudbox -n "__fish_cloudbox_using_subcommand info" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand set" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand delete" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand adopt" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand start" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand stop" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restart" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand rename" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand freeze" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand unfreeze" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand exec" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand log" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand shell" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand console" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshots" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand restore" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand snapshot-delete" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand clone" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand export" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from info" -f -a "(cloudbox image list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from pull" -f -a "(cloudbox image list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand image; and __fish_seen_subcommand_from delete" -f -a "(cloudbox image list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from publish" -f -a "(cloudbox list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand service; and __fish_seen_subcommand_from withdraw" -f -a "(cloudbox service list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from status" -f -a "(cloudbox job list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from wait" -f -a "(cloudbox job list --names 2>/dev/null)"
complete -c cloudbox -n "__fish_cloudbox_using_subcommand job; and __fish_seen_subcommand_from cancel" -f -a "(cloudbox job list --names 2>/dev/null)"
