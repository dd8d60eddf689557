# bash completion for openstack-ocf(8): what the program itself offers, the agents' names, and their actions.
_openstack_ocf() {
	local cur=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words
	if ((COMP_CWORD == 1)); then
		words=$(openstack-ocf "${cur/%--/-}" --generate-bash-completion)
	elif [[ $cur == -* ]]; then
		words=$(openstack-ocf "$command" "${cur/%--/-}" --generate-bash-completion)
	elif [[ ${COMP_WORDS[COMP_CWORD - 1]} == --format ]]; then
		words='text xml json man completion'
	elif [[ $command == run ]] && ((COMP_CWORD == 3)); then
		words=$(openstack-ocf describe --format completion "${COMP_WORDS[2]}" | sed 's/^complete -W "\(.*\)".*/\1/')
	elif [[ $command == swap && ${COMP_WORDS[COMP_CWORD - 1]} != --to ]]; then
		words=$(crm_resource --list-raw)
	elif [[ $command == run || $command == describe || $command == swap ]]; then
		words=$(openstack-ocf agents | sed 's/^ocf:openstack:\([^ ]*\).*/\1/')
	fi 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _openstack_ocf openstack-ocf
