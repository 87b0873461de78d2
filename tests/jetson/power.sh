# shellcheck shell=bash
# BASH_ENV of install.sh in test_power_loss.py: lists in $POWER_LOG the commands that may write, and before number
# $POWER_LOSS of them ends the script without any cleaning up.
if [[ ${0##*/} == install.sh ]]; then
    lose_power() {
        case ${BASH_COMMAND%% *} in
            '"$@"' | : | cat | chmod | cp | in_root | install | ln | mkdir | mv | rm | rmdir | sed | sync | touch | unit_text) ;;
            *) return 0 ;;
        esac
        printf '%s\n' "${BASH_COMMAND//$'\n'/ }" >>"$POWER_LOG"
        # More, where the two sides of a pipe came at once.
        ((POWER_LOSS == 0 || $(wc -l <"$POWER_LOG") < POWER_LOSS)) || kill -KILL $$ "$BASHPID"
    }
    set -o functrace
    trap lose_power DEBUG
fi
