#compdef openstack-ocf
# zsh completion for openstack-ocf(8), by what bash's says; file names where that has no words.
local -a found
found=(${(f)"$(bash -c '. /usr/share/bash-completion/completions/openstack-ocf
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _openstack_ocf; printf "%s\n" "${COMPREPLY[@]}"' bash "${(@)words[1,CURRENT]}" 2>/dev/null)"})
compadd -a found || _files
