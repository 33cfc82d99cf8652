@echo off
rem Look for Python 3.11 or newer, in this folder first, and show the pages in a browser.
setlocal
cd /d "%~dp0"
set "python="
for %%p in ("python\python.exe" "py -3" "python" "python3") do (
  if not defined python (
    %%~p -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>nul && if not errorlevel 1 set "python=%%~p"
  )
)
if not defined python goto missing
%python% start.py %*
goto end
:missing
echo Python 3.11 or newer was not found. README.txt says where to get it.
:end
pause
