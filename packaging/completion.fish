# fish completion for openstack-ocf(8), by what bash's says.
function __openstack_ocf
    set -l words (commandline -opc) (commandline -ct)
    bash -c '. /usr/share/bash-completion/completions/openstack-ocf
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _openstack_ocf; printf "%s\n" "${COMPREPLY[@]}"' bash $words 2>/dev/null
end
complete -c openstack-ocf -n __fish_use_subcommand -f
complete -c openstack-ocf -a '(__openstack_ocf)'
